//! Listeners: the operators' Unix socket (0600) and the probes' TCP port.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use axum::{Router, extract::DefaultBodyLimit};
use tokio::net::{TcpListener, UnixListener};

/// Name of the socket inside the state directory.
pub const SOCKET_FILE: &str = "firedrill.sock";

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Opens the operators' socket. A stale one is replaced: the store's lock has shown that no other agent is there.
///
/// # Errors
/// What the operating system says.
pub fn open_socket(state_directory: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let path = state_directory.join(SOCKET_FILE);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    // The folder is 0700 already; the socket says it once more.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, path))
}

/// Serves the operators' socket until dropped.
///
/// # Errors
/// What the operating system says.
pub async fn serve_socket(listener: UnixListener, routes: Router) -> io::Result<()> {
    axum::serve(listener, routes.layer(DefaultBodyLimit::max(MAX_BODY))).await
}

/// Opens the probes' port.
///
/// # Errors
/// What the operating system says.
pub async fn open_port(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves the probes' port until dropped.
///
/// # Errors
/// What the operating system says.
pub async fn serve_port(listener: TcpListener, routes: Router) -> io::Result<()> {
    axum::serve(listener, routes.layer(DefaultBodyLimit::max(MAX_BODY))).await
}
