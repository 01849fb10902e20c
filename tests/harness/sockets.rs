//! The sockets of a site that are this process's: its web server's port, and its syslog.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::wait_until;

/// A port that is bound although nobody listens there yet: the kernel gives it to no one who asks for any
/// port or connects from any, and to who names it, as the web server does (both with `SO_REUSEADDR`).
pub struct Port {
    pub number: u16,
    _held: OwnedFd,
}

impl Port {
    pub fn reserve() -> Self {
        let held = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let held = held.unwrap();
        sockopt::set_socket_reuseaddr(&held, true).unwrap();
        rustix::net::bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address: SocketAddr = rustix::net::getsockname(&held).unwrap().try_into().unwrap();
        Self { number: address.port(), _held: held }
    }
}

/// What receives the audit.
pub struct Syslog {
    records: Arc<Mutex<Vec<String>>>,
    own: UnixDatagram,
}

impl Syslog {
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        // Of this very socket, whatever a test puts in its place.
        let own = UnixDatagram::unbound().unwrap();
        own.connect(path).unwrap();
        let records = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&records);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let record = String::from_utf8_lossy(&buffer[..length]).into_owned();
                received.lock().unwrap().push(record);
            }
        });
        Self { records, own }
    }

    /// All records that were sent before this call: one of our own, which is taken away again, comes after them.
    pub fn records(&self) -> Vec<String> {
        let mark = format!("mark of {:?}", std::thread::current().id());
        self.own.send(mark.as_bytes()).unwrap();
        let mut records = vec![];
        wait_until("all records are received", || {
            let mut received = self.records.lock().unwrap();
            let Some(at) = received.iter().position(|record| *record == mark) else { return false };
            received.remove(at);
            records = received[..at].to_vec();
            true
        });
        records.retain(|record| !record.starts_with("mark of "));
        records
    }
}
