//! The proxy in front of a broker: frames that are late, stuck, trickling, withheld or damaged.
//!
//! Owns the frames' way. Answers to fetches are read as far as needed to take one partition's records out or to
//! damage them; everything else is passed on as it came.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::door::{Door, End, Serve};
use super::fetch;

/// Largest frame; records here have a few hundred bytes.
const FRAME_MAX: usize = 128 << 20;
/// The request whose answer carries records.
const FETCH: i16 = 1;
/// A broker that has records answers at once: whoever gets none of them would ask in a circle.
const WITHHELD_PAUSE: Duration = Duration::from_millis(50);

/// What the way to the broker is like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weather {
    /// Nothing arrives, in neither direction; connections stay.
    pub(crate) stalled: bool,
    /// Each frame is late by this much.
    pub(crate) delay: Duration,
    /// Bytes a second on each connection.
    pub(crate) bytes_per_s: Option<u32>,
    /// Records of this partition never arrive; everything else about it does.
    pub(crate) silent: Option<i32>,
    /// A bit of the records of every answer is flipped.
    pub(crate) damaged: bool,
}

/// How many frames were met by each kind of weather.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    pub(crate) stalled: u64,
    pub(crate) delayed: u64,
    pub(crate) trickled: u64,
    pub(crate) withheld: u64,
    pub(crate) damaged: u64,
    pub(crate) cut: u64,
}

/// A proxy in front of one broker.
pub(crate) struct KafkaProxy {
    door: Door,
    service: Arc<Service>,
}

#[derive(Default)]
struct Counters {
    stalled: AtomicU64,
    delayed: AtomicU64,
    trickled: AtomicU64,
    withheld: AtomicU64,
    damaged: AtomicU64,
}

struct Service {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    met: Counters,
}

impl KafkaProxy {
    /// Listens at `at`, which is what the broker calls itself, and passes on to `target`; both `host:port`.
    pub(crate) async fn start(at: &str, target: &str) -> Result<Self> {
        let address = |text: &str| text.parse().with_context(|| format!("{text} is no address"));
        let weather = watch::Sender::default();
        let service = Service { target: address(target)?, weather, met: Counters::default() };
        let service = Arc::new(service);
        let door = Door::open(address(at)?, Arc::clone(&service)).await;
        Ok(Self { door: door.with_context(|| format!("a proxy can't listen at {at}"))?, service })
    }

    /// From now on.
    pub(crate) fn set(&self, weather: Weather) {
        self.service.weather.send_replace(weather);
    }

    /// Resets every connection that is there.
    pub(crate) fn cut(&self) {
        self.door.cut();
    }

    /// Refuses connections, and resets those that are there.
    pub(crate) fn down(&self) {
        self.door.shut();
    }

    /// Takes connections again.
    pub(crate) fn up(&self) {
        self.door.reopen();
    }

    pub(crate) fn met(&self) -> Met {
        let met = &self.service.met;
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Met {
            stalled: count(&met.stalled),
            delayed: count(&met.delayed),
            trickled: count(&met.trickled),
            withheld: count(&met.withheld),
            damaged: count(&met.damaged),
            cut: self.door.were_cut(),
        }
    }
}

impl Serve for Service {
    async fn serve(&self, client: &mut TcpStream) -> End {
        let Ok(mut server) = TcpStream::connect(self.target).await else { return End::Reset };
        // A broker that has gone already is noticed by the first read.
        let _ = server.set_nodelay(true);
        let (mut client_in, mut client_out) = client.split();
        let (mut server_in, mut server_out) = server.split();
        let asked = Mutex::new(HashMap::new());
        // Either side's end is the other's.
        let _ = tokio::select! {
            ended = self.requests(&mut client_in, &mut server_out, &asked) => ended,
            ended = self.answers(&mut server_in, &mut client_out, &asked) => ended,
        };
        End::Closed
    }
}

/// The version of each fetch that is under way, by correlation id.
type Asked = Mutex<HashMap<i32, i16>>;

impl Service {
    async fn requests<R, W>(&self, from: &mut R, to: &mut W, asked: &Asked) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while let Some(frame) = read_frame(from).await? {
            if let [k0, k1, v0, v1, c0, c1, c2, c3, ..] = *frame
                && i16::from_be_bytes([k0, k1]) == FETCH
            {
                let (version, id) =
                    (i16::from_be_bytes([v0, v1]), i32::from_be_bytes([c0, c1, c2, c3]));
                asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, version);
            }
            self.weathered(frame.len()).await;
            write_frame(to, &frame).await?;
        }
        Ok(())
    }

    async fn answers<R, W>(&self, from: &mut R, to: &mut W, asked: &Asked) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while let Some(mut frame) = read_frame(from).await? {
            if let [c0, c1, c2, c3, ..] = *frame {
                let id = i32::from_be_bytes([c0, c1, c2, c3]);
                let version = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(version) = version {
                    frame = self.fetched(version, frame).await?;
                }
            }
            self.weathered(frame.len()).await;
            write_frame(to, &frame).await?;
        }
        Ok(())
    }

    /// The answer to a fetch, as it is to arrive.
    async fn fetched(&self, version: i16, frame: Vec<u8>) -> io::Result<Vec<u8>> {
        let Weather { silent, damaged, .. } = self.weather.borrow().clone();
        if silent.is_none() && !damaged {
            return Ok(frame);
        }
        let places = fetch::records(version, &frame).ok_or_else(|| {
            io::Error::other(format!("an answer to fetch {version} is not understood"))
        })?;
        if let Some(partition) = silent {
            let (frame, withheld) = fetch::without(&frame, &places, partition);
            if withheld > 0 {
                self.met.withheld.fetch_add(withheld, Ordering::SeqCst);
                tokio::time::sleep(WITHHELD_PAUSE).await;
            }
            return Ok(frame);
        }
        let (frame, damaged) = fetch::damaged(frame, &places);
        self.met.damaged.fetch_add(damaged, Ordering::SeqCst);
        Ok(frame)
    }

    /// Waits for as long as a frame of `length` bytes takes.
    async fn weathered(&self, length: usize) {
        let mut weather = self.weather.subscribe();
        if weather.borrow_and_update().stalled {
            self.met.stalled.fetch_add(1, Ordering::SeqCst);
            // The sender lives as long as `self`.
            let _ = weather.wait_for(|now| !now.stalled).await;
        }
        let Weather { delay, bytes_per_s, .. } = weather.borrow().clone();
        if !delay.is_zero() {
            self.met.delayed.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(delay).await;
        }
        if let Some(rate) = bytes_per_s {
            self.met.trickled.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / f64::from(rate))).await;
        }
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_MAX {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = i32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), frame].concat()).await
}
