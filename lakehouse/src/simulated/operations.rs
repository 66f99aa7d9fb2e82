//! Requests on their way to a server, and what becomes of them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use iceberg::spec::TableMetadata;
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload, PutResult};

use super::{Dice, Servers, at_once, lock};
use crate::catalog::memory::table_creation;
use crate::catalog::{Creation, Refs};
use crate::{Error, Kind, Result};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Read a table.
    Load,
    /// Make a table.
    Create,
    /// Change a table.
    Publish,
    /// Store an object.
    Put,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// By which it is performed.
    pub id: u64,
    /// The process that sent it.
    pub host: u32,
    /// What it asks for.
    pub call: Call,
    /// The table, or the object's location.
    pub of: String,
    /// Of a publish: the number of the state it was built on. States are numbered as they are first handed out.
    pub base: Option<u64>,
    /// Whether anyone still listens for the answer.
    pub heard: bool,
}

/// What the caller is told in place of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 503.
    Unavailable,
    /// The connection was reset.
    Reset,
    /// 400: trying again will not help, if it is true.
    Malformed,
}

/// How a request is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is, and its answer arrives.
    Answered,
    /// It is, and the answer is lost.
    AnswerLost(Trouble),
    /// It is not, and the caller is told so, or not told.
    Failed(Trouble),
    /// It is, twice; the first answer arrives.
    Twice,
    /// It is, twice, and the second answer arrives: a conflict with oneself.
    TwiceSecondHeard,
    /// The caller is told of a failure, and the request stays on its way.
    Late(Trouble),
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Performed {
    /// How often a publish was applied.
    pub applied: u32,
    /// How often the server said no.
    pub refused: u32,
}

#[derive(Clone)]
pub(super) enum Request {
    Load(TableIdent),
    Create(TableIdent, Arc<Creation>),
    Publish {
        ident: TableIdent,
        /// The metadata it was built on.
        base: String,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    },
    Put {
        path: Path,
        payload: PutPayload,
        mode: PutMode,
    },
}

/// A table as the catalog hands it out.
pub(super) type Held = (String, TableMetadata, Refs);

pub(super) enum Reply {
    Loaded(Result<Option<Held>>),
    /// `Ok(None)` is a conflict.
    Published(Result<Option<Held>>),
    Put(object_store::Result<PutResult>),
}

type Slot = Mutex<Option<Reply>>;

struct Operation {
    host: u32,
    request: Request,
    slot: Weak<Slot>,
}

/// Everything on its way.
pub(super) struct Operations {
    next: u64,
    waiting: BTreeMap<u64, Operation>,
    dice: Dice,
    /// One in so many metadata files has to wait; 0 is none.
    pub(super) metadata_waits_one_in: u64,
    /// One in so many reads of an object fails; 0 is none.
    pub(super) read_fails_one_in: u64,
    pub(super) reads_failed: u64,
    pub(super) deleted: Vec<String>,
}

impl Operations {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            next: 0,
            waiting: BTreeMap::new(),
            dice: Dice::new(seed ^ 0x00DE_C1DE),
            metadata_waits_one_in: 0,
            read_fails_one_in: 0,
            reads_failed: 0,
            deleted: Vec::new(),
        }
    }

    pub(super) fn metadata_waits(&mut self) -> bool {
        self.dice.one_in(self.metadata_waits_one_in)
    }

    pub(super) fn read_fails(&mut self) -> bool {
        let fails = self.dice.one_in(self.read_fails_one_in);
        self.reads_failed += u64::from(fails);
        fails
    }
}

/// Waits for the reply.
pub(super) struct Answering(Arc<Slot>);

impl Future for Answering {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reply> {
        lock(&self.0).take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Servers {
    /// Sends a request on its way.
    pub(super) fn send(&self, host: u32, request: Request) -> Answering {
        let slot = Arc::new(Slot::default());
        let mut operations = lock(&self.shared.operations);
        operations.next += 1;
        let (id, listener) = (operations.next, Arc::downgrade(&slot));
        operations.waiting.insert(id, Operation { host, request, slot: listener });
        Answering(slot)
    }

    /// How often small requests have to wait and reads fail: one in so many, 0 is never.
    pub fn set_store(&self, metadata_waits_one_in: u64, read_fails_one_in: u64) {
        let mut operations = lock(&self.shared.operations);
        operations.metadata_waits_one_in = metadata_waits_one_in;
        operations.read_fails_one_in = read_fails_one_in;
    }

    /// Reads of objects that failed so far.
    pub fn reads_failed(&self) -> u64 {
        lock(&self.shared.operations).reads_failed
    }

    /// Objects deleted since this was last asked.
    pub fn take_deleted(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.operations).deleted)
    }

    /// How many states of tables were handed out so far. Every state that anybody knows has a lower number,
    /// see [`Waiting::base`].
    pub fn handed_out(&self) -> u64 {
        lock(&self.shared.states).len() as u64
    }

    /// Everything on its way, oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        let operations = lock(&self.shared.operations);
        let shown = operations.waiting.iter().map(|(id, operation)| {
            let (call, of, base) = match &operation.request {
                Request::Load(ident) => (Call::Load, ident.name().to_owned(), None),
                Request::Create(ident, _) => (Call::Create, ident.name().to_owned(), None),
                Request::Publish { ident, base, .. } => {
                    let base = lock(&self.shared.states).get(base).copied();
                    (Call::Publish, ident.name().to_owned(), base)
                }
                Request::Put { path, .. } => (Call::Put, path.to_string(), None),
            };
            let heard = operation.slot.strong_count() > 0;
            Waiting { id: *id, host: operation.host, call, of, base, heard }
        });
        shown.collect()
    }

    /// Loses a request on its way; nobody is told.
    pub fn lose(&self, id: u64) {
        lock(&self.shared.operations).waiting.remove(&id);
    }

    /// Lets the server have a request.
    pub fn perform(&self, id: u64, how: How) -> Performed {
        let Some(operation) = lock(&self.shared.operations).waiting.remove(&id) else {
            return Performed::default();
        };
        let Operation { host, request, slot } = operation;
        let mut performed = Performed::default();
        let mut serve = || {
            let reply = self.serve(&request);
            if let Reply::Published(answer) = &reply {
                performed.applied += u32::from(matches!(answer, Ok(Some(_))));
                performed.refused += u32::from(matches!(answer, Ok(None)));
            }
            reply
        };
        let reply = match how {
            How::Answered => serve(),
            How::AnswerLost(trouble) => {
                serve();
                failure(&request, trouble)
            }
            How::Failed(trouble) => failure(&request, trouble),
            How::Twice => {
                let first = serve();
                serve();
                first
            }
            How::TwiceSecondHeard => {
                serve();
                serve()
            }
            How::Late(trouble) => {
                let reply = failure(&request, trouble);
                let orphan = Operation { host, request, slot: Weak::new() };
                lock(&self.shared.operations).waiting.insert(id, orphan);
                reply
            }
        };
        if let Some(slot) = slot.upgrade() {
            *lock(&slot) = Some(reply);
        }
        performed
    }

    fn serve(&self, request: &Request) -> Reply {
        match request {
            Request::Load(ident) => Reply::Loaded(Ok(self.hand_out(ident))),
            Request::Create(ident, creation) => {
                let made = self.shared.memory.make(ident, table_creation(ident, creation));
                Reply::Loaded(made.map(|()| self.hand_out(ident)).map_err(bad_request))
            }
            Request::Publish { ident, requirements, updates, .. } => {
                let applied = self.shared.memory.apply(ident, requirements, updates.clone());
                let answer = applied.map(|held| held.and_then(|_| self.hand_out(ident)));
                Reply::Published(answer.map_err(bad_request))
            }
            Request::Put { path, payload, mode } => Reply::Put(self.put(path, payload, mode)),
        }
    }

    pub(super) fn put(
        &self,
        path: &Path,
        payload: &PutPayload,
        mode: &PutMode,
    ) -> object_store::Result<PutResult> {
        at_once(self.shared.objects.put_opts(path, payload.clone(), mode.clone().into()))
    }

    fn hand_out(&self, ident: &TableIdent) -> Option<Held> {
        let (location, metadata) = self.held(ident)?;
        let mut states = lock(&self.shared.states);
        let number = states.len() as u64;
        states.entry(location.clone()).or_insert(number);
        drop(states);
        let refs = self.seen(ident, &location, &metadata).refs;
        Some((location, metadata, refs))
    }
}

fn bad_request(err: iceberg::Error) -> Error {
    Error::new(Kind::Config, "bad request").because(err)
}

fn failure(request: &Request, trouble: Trouble) -> Reply {
    let err = || match trouble {
        Trouble::Unavailable => Error::new(Kind::Retry, "503 Service Unavailable"),
        Trouble::Reset => Error::new(Kind::Retry, "connection reset by peer"),
        Trouble::Malformed => Error::new(Kind::Config, "400 Bad Request"),
    };
    match request {
        Request::Load(_) | Request::Create(..) => Reply::Loaded(Err(err())),
        Request::Publish { .. } => Reply::Published(Err(err())),
        Request::Put { .. } => Reply::Put(Err(super::objects::failed(&err().to_string()))),
    }
}
