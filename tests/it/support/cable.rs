//! A cable between an agent and what stands in for AWS. While it is cut nothing goes through it, and neither end is told.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
};

/// A cable; it is gone when dropped.
pub struct Cable {
    url: String,
    is_cut: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Cable {
    /// Lays a cable to a server, which its URL names by address and port.
    pub fn to(url: &str) -> Self {
        let far: SocketAddr = url.trim_start_matches("http://").parse().expect("an address and a port");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (is_cut, seen) = watch::channel(false);
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, far, seen.clone()));
            }
        });
        Self { url, is_cut, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts it: what is under way gets no answer either.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Mends it; connections from before are closed.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn carry(mut near: TcpStream, far: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let mut cut = is_cut.clone();
    let Ok(_) = is_cut.wait_for(|is_cut| !is_cut).await else { return };
    let Ok(mut far) = TcpStream::connect(far).await else { return };
    tokio::select! {
        biased;
        Ok(_) = cut.wait_for(|is_cut| *is_cut) => {}
        _ended = copy_bidirectional(&mut near, &mut far) => return,
    }
    let _mended = is_cut.wait_for(|is_cut| !is_cut).await;
}
