//! A `Router` of axum, served by hyper on every shard: no runtime beside the shards'.
//!
//! ```text
//! cargo run --example axum_router --features hyper
//! curl -i http://127.0.0.1:7016/hello/Ada
//! curl -i http://127.0.0.1:7016/count -d 'how many bytes?'
//! ```
//!
//! axum asks of its handlers' futures, and of their state, that they are `Send`, though none leaves
//! its shard: an `Arc` where an `Rc` would do, and nothing that waits for the framework's own futures
//! (`sleep`, a `Conn` of a `Pool`). For these `corelane::http` is the layer.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use corelane::{AppSettings, Conn, Error, Handler, ShardContext};
use hyper::server::conn::http1::Builder;
use hyper_util::service::TowerToHyperService;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RouterSettings {
    /// The largest body that is read, in bytes.
    body_max: usize,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            body_max: 64 * 1024,
        }
    }
}

impl AppSettings for RouterSettings {
    const NAME: &'static str = "axum_router";
    const ABOUT: &'static str = "Serves a Router of axum";
    const LISTEN: &'static str = "127.0.0.1:7016";
    const DEFAULTS: &'static str = "
        [timeouts]
        request = '30s'
        idle = '75s'
    ";
}

/// One of each shard.
struct Served {
    router: Router,
    http: Builder,
}

impl Handler for Served {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let service = TowerToHyperService::new(self.router.clone());
        corelane::hyper::serve(conn, &self.http, service).await
    }
}

/// What the handlers of a shard have in common.
type Greeted = State<Arc<AtomicU64>>;

async fn hello(State(greeted): Greeted, Path(name): Path<String>) -> String {
    let number = greeted.fetch_add(1, Ordering::Relaxed) + 1;
    format!("hello, {name}, the {number}. of this shard\n")
}

async fn count(body: String) -> String {
    format!("{} bytes\n", body.len())
}

fn router(settings: &RouterSettings) -> Router {
    Router::new()
        .route("/hello/{name}", get(hello))
        .route("/count", post(count))
        .layer(DefaultBodyLimit::max(settings.body_max))
        .with_state(Arc::default())
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &RouterSettings| Served {
        router: router(settings),
        http: corelane::hyper::builder(),
    })
}
