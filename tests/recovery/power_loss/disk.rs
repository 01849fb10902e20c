//! A disk after a power loss: which writes and names that were not synced may have reached it.

use std::collections::BTreeMap;
use std::path::Path;

use super::trace::Act;

/// A disk that keeps what was synced and may lose the rest: a model of what POSIX promises.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<Content>,
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Content {
    durable: Vec<u8>,
    /// Writes and cuts since the last sync.
    pending: Vec<Act>,
}

impl Content {
    fn sync(&mut self) {
        self.pending.drain(..).for_each(|act| apply(&mut self.durable, &act));
    }
}

pub fn apply(bytes: &mut Vec<u8>, act: &Act) {
    match act {
        Act::Write { at, bytes: new } => {
            let at = at.unwrap_or(bytes.len());
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        Act::Cut(length) => bytes.resize(*length, 0),
        _ => {}
    }
}

/// Which of the acts since the last sync came to the disk.
pub type Way = Box<dyn Fn(&[Act]) -> Vec<Act>>;

impl Disk {
    /// A disk with these durable files.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut disk = Self::default();
        for (path, durable) in files {
            disk.now.insert(path, disk.files.len());
            disk.files.push(Content { durable, pending: vec![] });
        }
        disk.durable = disk.now.clone();
        disk
    }

    pub fn act(&mut self, path: &str, act: &Act) {
        match act {
            Act::Create if !self.now.contains_key(path) => {
                self.now.insert(path.to_owned(), self.files.len());
                self.files.push(Content::default());
            }
            Act::Unlink => drop(self.now.remove(path)),
            Act::Rename(to) => {
                if let Some(file) = self.now.remove(path) {
                    self.now.insert(to.clone(), file);
                }
            }
            Act::Link(to) => {
                if let Some(file) = self.now.get(path) {
                    self.now.insert(to.clone(), *file);
                }
            }
            Act::SyncAll => {
                self.durable = self.now.clone();
                self.files.iter_mut().for_each(Content::sync);
            }
            Act::Sync => {
                let inside = |name: &String| Path::new(name).parent() == Some(Path::new(path));
                self.durable.retain(|name, _| !inside(name));
                self.durable.extend(self.now.iter().filter(|(name, _)| inside(name)).map(|(n, f)| (n.clone(), *f)));
                if let Some(file) = self.now.get(path).and_then(|file| self.files.get_mut(*file)) {
                    file.sync();
                }
            }
            Act::Write { .. } | Act::Cut(_) => {
                if let Some(file) = self.now.get(path) {
                    self.files[*file].pending.push(act.clone());
                }
            }
            _ => {}
        }
    }

    /// What can be left when the power goes now: names and writes that were not synced may have come to
    /// the disk or not, one without the others, and the last one in part.
    pub fn remains(&self) -> Vec<BTreeMap<String, Vec<u8>>> {
        let most = self.files.iter().map(|file| file.pending.len()).max().unwrap_or_default();
        let mut ways: Vec<Way> = vec![Box::new(|_| vec![]), Box::new(<[Act]>::to_vec), Box::new(torn)];
        for only in 0..most {
            ways.push(Box::new(move |pending| pending.get(only).cloned().into_iter().collect()));
            ways.push(Box::new(move |pending| {
                pending.iter().enumerate().filter(|(at, _)| *at != only).map(|(_, act)| act.clone()).collect()
            }));
        }
        let mut remains = vec![];
        for names in [&self.durable, &self.now] {
            for way in &ways {
                let content = |file: &usize| {
                    let mut bytes = self.files[*file].durable.clone();
                    way(&self.files[*file].pending).iter().for_each(|act| apply(&mut bytes, act));
                    bytes
                };
                remains.push(names.iter().map(|(name, file)| (name.clone(), content(file))).collect());
            }
        }
        remains
    }
}

/// All writes, of the last one the first sector alone.
pub fn torn(pending: &[Act]) -> Vec<Act> {
    let mut acts = pending.to_vec();
    if let Some(Act::Write { bytes, .. }) = acts.last_mut() {
        bytes.truncate(512);
    }
    acts
}
