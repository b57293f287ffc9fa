//! The kernel's TCP, on blocking sockets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};

use crate::meter::{Meter, Stamper};
use crate::{Receive, Send, Transport};

fn set_congestion_control(socket: impl AsFd, transport: Transport) -> Result<()> {
    let name = if transport == Transport::TcpBbr {
        "bbr"
    } else {
        "cubic"
    };
    rustix::net::sockopt::set_tcp_congestion(socket, name)
        .with_context(|| format!("no congestion control {name} here"))
}

pub(crate) fn receive(args: &Receive) -> Result<serde_json::Value> {
    let listener = TcpListener::bind(args.bind)?;
    set_congestion_control(&listener, args.transport)?;
    println!("ready");
    let (mut stream, _) = listener.accept()?;
    let mut meter = Meter::new(args.span())?;
    let mut message = vec![0; args.message];
    let mut filled = 0;
    loop {
        if let Some(left) = meter.left() {
            if left.is_zero() {
                return Ok(meter.report());
            }
            stream.set_read_timeout(Some(left))?;
        }
        match stream.read(&mut message[filled..]) {
            Ok(0) => return Ok(meter.report()),
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Ok(meter.report());
            }
            Err(error) => return Err(error.into()),
        }
        if filled == message.len() {
            filled = 0;
            if meter.take(&message)? {
                return Ok(meter.report());
            }
        }
    }
}

pub(crate) fn send(args: &Send) -> Result<()> {
    let mut stream = TcpStream::connect(args.to)?;
    set_congestion_control(&stream, args.transport)?;
    stream.set_nodelay(true)?;
    let mut stamper = Stamper::new(args.message, args.rate)?;
    loop {
        let (message, wait) = stamper.next();
        if let Some(wait) = wait {
            std::thread::sleep(wait);
        }
        stream.write_all(message)?;
    }
}
