//! A link of 50 ms between a worker and the server: a relay that holds every datagram back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::Failure;

const ONE_WAY: Duration = Duration::from_millis(25);
/// Datagrams under way in one direction of one connection at most.
const UNDER_WAY_MAX: usize = 10_000;

/// A socket that passes datagrams between one client and the server, late and in order.
pub(crate) async fn relay(server: SocketAddr) -> Result<SocketAddr, Failure> {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    far.connect(server).await?;
    let address = near.local_addr()?;
    let mut buffer = vec![0; 65_536];
    tokio::spawn(async move {
        // The first datagram says where the client is.
        let Ok((length, client)) = near.recv_from(&mut buffer).await else {
            return;
        };
        if near.connect(client).await.is_err() {
            return;
        }
        let (there, queue) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(release(queue, Arc::clone(&far)));
        let first = (Instant::now() + ONE_WAY, buffer[..length].to_vec());
        if there.send(first).await.is_err() {
            return;
        }
        let (back, queue) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(release(queue, Arc::clone(&near)));
        tokio::spawn(hold(far, back));
        hold(near, there).await;
    });
    Ok(address)
}

/// Reads datagrams and says when they may go on.
async fn hold(from: Arc<UdpSocket>, to: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = from.recv(&mut buffer).await {
        let held = (Instant::now() + ONE_WAY, buffer[..length].to_vec());
        if to.send(held).await.is_err() {
            return;
        }
    }
}

async fn release(mut from: mpsc::Receiver<(Instant, Vec<u8>)>, to: Arc<UdpSocket>) {
    while let Some((due, datagram)) = from.recv().await {
        tokio::time::sleep_until(due.into()).await;
        // A datagram that can't be sent is lost, as on any network.
        drop(to.send(&datagram).await);
    }
}
