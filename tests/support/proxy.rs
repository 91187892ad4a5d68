//! A proxy between the engine and PostgreSQL that cuts connections, at the worst moments too.
//!
//! | cut | what the client sees | what the server does |
//! | --- | --- | --- |
//! | [`Cut::Now`] | the connection ends | whatever it was told before |
//! | [`Cut::BeforeForwarding`] | its request was sent, the connection ends | it never hears of it |
//! | [`Cut::BeforeAnswer`] | its request was sent, the connection ends | it commits and answers |
//! | [`Cut::Abandoned`] | its request was sent, the connection ends at once | it still works, and waits for more |
//! | [`Cut::Silent`] | nothing, for ever | nothing, for ever |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Chance;

/// By this the connection that commits is known: it ends the one before it.
const FENCE: &[u8] = b"pg_terminate_backend";
/// The end of every answer, outside a transaction.
const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
/// The longest that an abandoned server process is left alone.
const LINGER: Duration = Duration::from_secs(3);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Now,
    BeforeForwarding,
    BeforeAnswer,
    Abandoned,
    Silent,
}

/// One connection that passes through.
#[derive(Debug, Default)]
struct Line {
    commits: AtomicBool,
    ordered: Mutex<Option<Cut>>,
    at_once: Notify,
}

/// The connections, and what was done to them.
#[derive(Debug, Default)]
struct Lines {
    open: Mutex<Vec<Arc<Line>>>,
    /// Requests that the server carried out without the client hearing of it.
    unheard: AtomicU64,
}

/// Listens on TCP and forwards to a cluster's Unix socket.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    lines: Arc<Lines>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Lines::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, socket.to_owned(), Arc::clone(&lines)));
        Self { port, lines, _accepting: accepting }
    }

    /// The database's URL by way of this proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let credentials = direct.strip_prefix("postgres://").unwrap().split('@').next().unwrap();
        format!("postgres://{credentials}@127.0.0.1:{}/payments?sslmode=disable", self.port)
    }

    /// Cuts the connection that commits, or any other; there may be none at the moment.
    pub(crate) fn cut(&self, chance: &mut Chance, committing: bool, cut: Cut) {
        let open = self.lines.open.lock().unwrap();
        let fitting: Vec<_> =
            open.iter().filter(|line| line.commits.load(Ordering::Relaxed) == committing).collect();
        if fitting.is_empty() {
            return;
        }
        let index = usize::try_from(chance.number() % u64::try_from(fitting.len()).unwrap()).unwrap();
        fitting[index].order(cut);
    }

    /// The same to all connections.
    pub(crate) fn cut_all(&self, cut: Cut) {
        self.lines.open.lock().unwrap().iter().for_each(|line| line.order(cut));
    }

    /// Requests that the server carried out, or was carrying out, while the client lost it.
    pub(crate) fn unheard(&self) -> u64 {
        self.lines.unheard.load(Ordering::Relaxed)
    }
}

impl Line {
    fn order(&self, cut: Cut) {
        *self.ordered.lock().unwrap() = Some(cut);
        if matches!(cut, Cut::Now | Cut::Silent) {
            self.at_once.notify_one();
        }
    }
}

async fn accept(listener: TcpListener, socket: PathBuf, lines: Arc<Lines>) {
    let mut carrying = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        while carrying.try_join_next().is_some() {}
        // A server that is down looks the same through a proxy: the connection ends.
        let Ok(server) = UnixStream::connect(&socket).await else { continue };
        let (line, lines) = (Arc::new(Line::default()), Arc::clone(&lines));
        lines.open.lock().unwrap().push(Arc::clone(&line));
        carrying.spawn(async move {
            // An error is one side's end, which is the other's as well.
            let _ = carry(client, server, &line, &lines).await;
            lines.open.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &line));
        });
    }
}

async fn carry(client: TcpStream, server: UnixStream, line: &Line, lines: &Lines) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut swallowing = false;
    loop {
        tokio::select! {
            () = line.at_once.notified() => {
                let ordered = line.ordered.lock().unwrap().take();
                if ordered == Some(Cut::Silent) {
                    std::future::pending::<()>().await;
                }
                return Ok(());
            }
            read = from_client.read(&mut asked) => {
                let request = &asked[..read?];
                let ordered = line.ordered.lock().unwrap().take();
                if request.is_empty() || ordered == Some(Cut::BeforeForwarding) {
                    return Ok(());
                }
                if request.windows(FENCE.len()).any(|window| window == FENCE) {
                    line.commits.store(true, Ordering::Relaxed);
                }
                to_server.write_all(request).await?;
                if ordered == Some(Cut::Abandoned) {
                    lines.unheard.fetch_add(1, Ordering::Relaxed);
                    line.commits.store(false, Ordering::Relaxed);
                    drop((from_client, to_client));
                    return linger(from_server, to_server).await;
                }
                swallowing |= ordered == Some(Cut::BeforeAnswer);
            }
            read = from_server.read(&mut answered) => {
                let answer = &answered[..read?];
                if answer.is_empty() {
                    return Ok(());
                }
                if !swallowing {
                    to_client.write_all(answer).await?;
                } else if answer.ends_with(READY_FOR_QUERY) {
                    lines.unheard.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }
}

/// Keeps the server's side open, so that the server cannot know that its client is gone.
async fn linger(mut from_server: OwnedReadHalf, _to_server: OwnedWriteHalf) -> io::Result<()> {
    let mut rest = vec![];
    let _ = tokio::time::timeout(LINGER, from_server.read_to_end(&mut rest)).await;
    Ok(())
}
