//! Many at once: bounds that hold, and nothing lost or done twice.

mod readers;
mod slots;

/// Behind each web server (tests/run).
mod every_server {
    mod launches;
    mod load;

    /// With a cold console and with a warm one (tests/run).
    mod every_console {
        mod races;
    }
}
