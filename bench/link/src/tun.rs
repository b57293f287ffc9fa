//! TUN devices: network interfaces whose packets a program reads and writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::ioctl::{Setter, ioctl, opcode};

/// The interface's name and terminator, as the kernel limits it.
const NAME_BYTES: usize = 16;
const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
const TUNSETIFF: u32 = opcode::write::<core::ffi::c_int>(b'T', 202);

/// The kernel's `struct ifreq` as `TUNSETIFF` reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct InterfaceRequest {
    name: [u8; NAME_BYTES],
    flags: i16,
    rest: [u8; 22],
}

/// A TUN device in the namespace of the thread that made it.
#[derive(Debug)]
pub(crate) struct Tun {
    file: File,
}

impl Tun {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut request = InterfaceRequest {
            name: [0; NAME_BYTES],
            flags: IFF_TUN | IFF_NO_PI,
            rest: [0; 22],
        };
        if name.len() >= NAME_BYTES || name.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a name of 1 to 15 bytes",
            ));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open("/dev/net/tun")?;
        // SAFETY: `TUNSETIFF` reads one `struct ifreq` through the pointer, and
        // `InterfaceRequest` has its size (40 bytes on 64-bit Linux) and layout.
        unsafe {
            ioctl(&file, Setter::<TUNSETIFF, InterfaceRequest>::new(request))?;
        }
        Ok(Self { file })
    }

    /// Reads a packet; `None` if there is none.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a packet.
    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(|_whole| ())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
