//! What the tests of TLS stand on: certificates of an authority of their own, a handler that says
//! what it knows of its session.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use corelane::{
    CloseReason, Conn, EndOfInput, Error, Handler, Server, ServerHandle, Settings, ShardContext,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tests::{BOUND, within};

/// By which name the server is asked for.
pub(crate) const NAME: &str = "a.test";

/// An authority's certificate in `ca.crt`, the server's in `server.crt`, a client's in `client.crt`,
/// with their keys. They are gone with the value.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shard-tls-{}-{number}", std::process::id());
        let files = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir_all(&files.0).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(
            DnType::CommonName,
            format!("the authority of test {number}"),
        );
        let key = KeyPair::generate().unwrap();
        files.write("ca.crt", &authority.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(authority, key);
        for (name, holder) in [("server", NAME), ("client", "a-client.test")] {
            let names = vec![holder.to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, holder);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            files.write(&format!("{name}.crt"), &certificate.pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.0.join(name), text).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.0.join(name), mode).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Settings of a server with TLS.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new()
            .set("server.shards", 1)
            .set("limits.connections_max", 2_000)
            .set("listener.tls.certificate", self.path("server.crt"))
            .set("listener.tls.key", self.path("server.key"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Says what it knows of its session, and then echoes. At the end of input it says how that has
/// ended.
pub(crate) struct Teller;

impl Handler for Teller {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        conn.write(&told(conn)).await?;
        while let Some(bytes) = conn.read().await? {
            conn.write(bytes).await?;
        }
        match conn.end_of_input() {
            Some(EndOfInput::Truncated) => conn.write("cut\n").await,
            _ => conn.write("bye\n").await,
        }
    }
}

fn told(conn: &Conn) -> String {
    let Some(tls) = conn.tls() else {
        return "plain\n".to_owned();
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{} {} alpn={} name={} certificates={} resumed={}\n",
        tls.version,
        tls.cipher_suite,
        tls.alpn.as_deref().map_or("-".to_owned(), text),
        tls.server_name.as_deref().unwrap_or("-"),
        tls.peer_certificates.len(),
        tls.is_resumed,
    )
}

pub(crate) fn serve(settings: Settings) -> ServerHandle {
    serve_by(settings, |_: &ShardContext| Teller)
}

pub(crate) fn serve_by<H: Handler>(
    settings: Settings,
    factory: impl Fn(&ShardContext) -> H + Send + Sync + 'static,
) -> ServerHandle {
    let server = Server::builder().settings(settings).handler(factory).bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

pub(crate) fn end(handle: ServerHandle) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

pub(crate) fn wait_for_closed(handle: &ServerHandle, reason: CloseReason, count: u64) {
    within(BOUND, reason.as_str(), || {
        (handle.stats().closed(reason) == count).then_some(())
    });
}
