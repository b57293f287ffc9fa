//! Network namespaces, by way of `ip`, and TUN devices within them.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tun::Tun;

/// A network namespace, removed at the end if it was made here.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    path: PathBuf,
    made: bool,
}

impl Namespace {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let path = Path::new("/run/netns").join(name);
        let made = !path.exists();
        if made {
            ip(&["netns", "add", name])?;
        }
        let namespace = Self {
            name: name.to_owned(),
            path,
            made,
        };
        // Programs in it may want to talk to themselves.
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Makes a TUN device within. It lives as long as what is returned.
    pub(crate) fn tun(&self, device: &str) -> Result<Tun> {
        // A thread is in a namespace by itself, and this one is not to be used for
        // anything else afterwards.
        std::thread::scope(|scope| {
            let made = scope.spawn(|| -> Result<Tun> {
                let namespace =
                    File::open(&self.path).with_context(|| self.path.display().to_string())?;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter namespace {}", self.name))?;
                Tun::new(device)
                    .with_context(|| format!("cannot make device {device} in {}", self.name))
            });
            made.join()
                .unwrap_or_else(|_| bail!("making a device failed"))
        })
    }

    /// Gives a device its address and sets it up.
    pub(crate) fn configure(&self, device: &str, address: Ipv4Addr, mtu: u16) -> Result<()> {
        let (address, mtu) = (format!("{address}/24"), mtu.to_string());
        self.ip(&["addr", "replace", &address, "dev", device])?;
        self.ip(&[
            "link",
            "set",
            device,
            "mtu",
            &mtu,
            "txqueuelen",
            "1000",
            "up",
        ])
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = ip(&["netns", "del", &self.name])
        {
            eprintln!("warning: {error:#}");
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .context("cannot run ip: install iproute2")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", words.join(" "), said.trim());
    }
    Ok(())
}
