//! Random bytes from the kernel.

use std::fs::OpenOptions;
use std::io::{self, Read};

use data_encoding::HEXLOWER;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

/// Fills a buffer with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut *bytes, GetRandomFlags::empty())) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        // A seccomp(2) filter that does not know the call answers EPERM.
        Err(Errno::NOSYS | Errno::PERM) => fill_from_devices(bytes),
        Err(error) => Err(error.into()),
    }
}

/// Does without getrandom(2), which Linux has from 3.17 on.
/// By random(4), `/dev/random` is readable as soon as the generator is seeded; then urandom is as good.
fn fill_from_devices(bytes: &mut [u8]) -> io::Result<()> {
    let open = |path| OpenOptions::new().read(true).open(path);
    let seeded = open("/dev/random")?;
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut [PollFd::new(&seeded, PollFlags::IN)], None))?;
    open("/dev/urandom")?.read_exact(bytes)
}

/// A name that nobody can guess: 128 bits in hexadecimal.
pub(crate) fn name() -> io::Result<String> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::{fill, fill_from_devices, name};

    #[test]
    fn each_source_fills_the_whole_buffer_anew() {
        for source in [fill, fill_from_devices] {
            let mut bytes = [[0; 64]; 2];
            bytes.iter_mut().for_each(|bytes| source(bytes).unwrap());
            assert_ne!(bytes[0], bytes[1]);
            // Eight zero bytes in a row are one in 2^58.
            assert!(bytes.iter().all(|bytes| bytes.chunks(8).all(|part| part != [0; 8])), "{bytes:?}");
        }
        assert_eq!(name().unwrap().len(), 32);
    }
}
