//! Addresses that this machine alone can reach: listeners of the admin server, which shards do not
//! share, and the files of Unix sockets.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::config::Endpoint;
use crate::net::listen::while_in_use;

/// Connections that wait in the kernel until they are accepted.
const BACKLOG: i32 = 128;
/// Nobody but the owner.
const OWNER_ONLY: u32 = 0o600;

/// A listener on an [`Endpoint`]. Dropping it takes a Unix socket's file away.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) listener: OwnedFd,
    /// With the real port.
    pub(crate) endpoint: Endpoint,
    /// The service manager holds it too, and its file is that one's.
    pub(crate) kept: bool,
    file: Option<SocketFile>,
}

impl Opened {
    /// One that this process did not open. The file of a Unix socket stays for now whatever becomes
    /// of this process.
    ///
    /// # Errors
    ///
    /// Also when other machines can reach it.
    pub(crate) fn inherited(listener: OwnedFd, kept: bool) -> io::Result<Self> {
        let endpoint = endpoint_of(&listener)?;
        if matches!(endpoint, Endpoint::Tcp(address) if !address.ip().is_loopback()) {
            return Err(io::Error::other(
                "neither a loopback address nor a path is its name",
            ));
        }
        Ok(Self {
            listener,
            endpoint,
            kept,
            file: None,
        })
    }

    /// The process before, if there was one, lets go of it: from now on the file goes with this.
    pub(crate) fn own(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint
            && !self.kept
            && self.file.is_none()
        {
            self.file = SocketFile::found(path);
        }
    }

    /// The next process has it from now on, with its file.
    pub(crate) fn disown(&mut self) {
        if let Some(file) = &mut self.file {
            file.leave();
        }
    }
}

/// The address of a socket.
///
/// # Errors
///
/// When it is neither of TCP nor a path.
pub(crate) fn endpoint_of<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<Endpoint> {
    let address = socket.into().local_addr()?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Ok(Endpoint::Tcp(address)),
        (None, Some(path)) => Ok(Endpoint::Unix(path.to_owned())),
        (None, None) => Err(io::Error::other(
            "neither an IP address nor a path is its name",
        )),
    }
}

/// Listens there.
///
/// # Errors
///
/// Also when another process listens there, or the path names something that is no socket.
pub(crate) fn open(endpoint: &Endpoint) -> io::Result<Opened> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let listener = while_in_use(|| bind(*address))?;
            let address = listener.local_addr()?.as_socket().unwrap_or(*address);
            Ok(Opened {
                listener: listener.into(),
                endpoint: Endpoint::Tcp(address),
                kept: false,
                file: None,
            })
        }
        Endpoint::Unix(path) => {
            let (listener, file) = bind_file(path, OWNER_ONLY, BACKLOG)?;
            Ok(Opened {
                listener,
                endpoint: endpoint.clone(),
                kept: false,
                file: Some(file),
            })
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Listens at a path, in a file of that mode; a stale one is replaced. Of two processes that find the
/// same stale file at the same instant one may lose its own to the other: paths are for one process
/// each.
///
/// # Errors
///
/// As for [`open`].
pub(crate) fn bind_file(path: &Path, mode: u32, backlog: i32) -> io::Result<(OwnedFd, SocketFile)> {
    while_in_use(|| try_bind_file(path, mode, backlog))
}

fn try_bind_file(path: &Path, mode: u32, backlog: i32) -> io::Result<(OwnedFd, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux makes the file with the mode of the socket, less the umask: at no instant may anybody
    // open it who may not later.
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    let file = SocketFile::of(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?; // the umask may have taken some
    socket.listen(backlog)?;
    Ok((socket.into(), file))
}

/// Removes the file of a socket that nobody listens on any more.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something that is no socket",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?; // a full queue is one in use, too
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket of ours. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
    stays: bool,
}

impl SocketFile {
    /// That of a socket that another process has opened, if it is still there.
    pub(crate) fn found(path: &Path) -> Option<Self> {
        Self::of(path)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "the socket's file is not there, so nobody can connect: stop the server and start it"))
            .ok()
    }

    /// The next process has it from now on.
    pub(crate) fn leave(&mut self) {
        self.stays = true;
    }

    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: fs::symlink_metadata(path)?.ino(),
            stays: false,
        })
    }
}

impl Drop for SocketFile {
    /// Another process may have its own there by now.
    fn drop(&mut self) {
        let is_ours = !self.stays
            && fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixStream;

    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("corelane-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
        let path = path("stale");
        let endpoint = Endpoint::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let opened = open(&endpoint).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        UnixStream::connect(&path).unwrap();
        let second = open(&endpoint).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(opened);
        assert!(!path.exists());
    }

    #[test]
    fn one_in_use_whose_queue_is_full_is_not_waited_for() {
        let path = path("full");
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        busy.listen(0).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        let second = open(&Endpoint::Unix(path.clone())).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_that_this_user_may_not_open_is_not_said_to_be_in_use() {
        if !rustix::process::getuid().is_root() {
            eprintln!("needs root, to become another user");
            return;
        }
        let path = path("others");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let endpoint = Endpoint::Unix(path.clone());
        let asked = std::thread::spawn(move || {
            // Of this thread alone.
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            open(&endpoint).unwrap_err().kind()
        });
        assert_eq!(asked.join().unwrap(), io::ErrorKind::PermissionDenied);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let path = path("file");
        fs::write(&path, "precious").unwrap();
        let error = open(&Endpoint::Unix(path.clone())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let path = path("successor");
        let opened = open(&Endpoint::Unix(path.clone())).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(opened);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_file_of_a_socket_that_is_handed_over_goes_with_its_last_owner() {
        let path = path("handed");
        let mut first = open(&Endpoint::Unix(path.clone())).unwrap();
        let inherit =
            |opened: &Opened| Opened::inherited(opened.listener.try_clone().unwrap(), false);
        let failed = inherit(&first).unwrap();
        assert_eq!(failed.endpoint, first.endpoint);
        drop(failed);
        assert!(path.exists(), "one that fails takes nothing along");
        let mut second = inherit(&first).unwrap();
        second.own();
        first.disown();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_other_machines_reach_is_not_inherited() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(Opened::inherited(listener.into(), true).is_err());
    }

    #[test]
    fn a_port_has_one_listener() {
        let first = open(&Endpoint::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        assert_eq!(
            open(&first.endpoint).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
