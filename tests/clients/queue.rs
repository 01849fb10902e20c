//! Each client's half of the queues.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::site::Site;
use crate::authority::AuthorityError;
use crate::authority::protocol::Verb;
use crate::model::client::Caller;
use crate::model::name::NodeName;
use crate::service::context;
use crate::system::clock::Deadline;
use crate::system::lock::LockError;

#[test]
fn client_has_half_of_the_queues_of_console_and_ca() {
    let site = Site::open("queue", &[String::new(), String::new()]);
    let hold = |name: &str| {
        let file = File::create(site.state().join("locks").join(name)).unwrap();
        file.lock().unwrap();
        file
    };
    // All that work, and the first client's half of those that wait.
    let working = ["authority.0", "authority-read.0", "authority-read.1", "authority-read.2", "authority-read.3"];
    let _working = working.map(hold);
    let halves = ["console-queue.a.0", "authority-queue.a.0", "authority-read-queue.a.0"];
    let _waiting = halves.map(hold);
    let none = Path::new("/nonexistent");
    let name = NodeName::parse("web01").unwrap();
    let full = |caller: &Caller| -> [bool; 3] {
        let soon = || Deadline::after(Duration::from_millis(30));
        let console = context::console(site.config(), none, caller).queue().wait(soon(), || Ok(None::<()>));
        let authority = context::authority(site.config(), none, caller);
        let asked = [Verb::Revoke, Verb::Show].map(|verb| authority.ask(verb, &name, soon()));
        let [change, look] = asked.map(|asked| matches!(asked, Err(AuthorityError::Busy(LockError::Full))));
        [matches!(console, Err(LockError::Full)), change, look]
    };
    let [a, b] = [0, 1].map(|client| full(&Caller::Client(Box::new(site.config().clients[client].clone()))));
    assert_eq!((a, b, full(&Caller::Operator)), ([true; 3], [false; 3], [false; 3]));
}
