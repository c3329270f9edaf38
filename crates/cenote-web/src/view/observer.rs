//! The view's own thread: it looks when asked, so that no thread of the service has to.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::State;
use super::exposition::{self, Format};
use super::families;
use super::local::Ask;
use super::look::Look;
use super::map::BlockMap;
use super::metrics::Family;
use super::pending::Unavailable;

/// How long a thread may take to tell the blocks of one pool.
const PATIENCE: Duration = Duration::from_millis(500);
/// Questions that may wait; beyond that there is no answer.
pub(super) const WAITING: usize = 256;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Everything, as JSON.
    Json,
    /// The metrics, as text.
    Metrics(Format),
    /// The blocks of a pool, by its id.
    Map(String),
    /// What was so many seconds ago, as JSON.
    Ago(u32),
    /// All that is known of the past, as JSON.
    History,
    /// Everything, for a program.
    Look,
    /// The metrics, for a program.
    Families,
}

/// What comes of it.
pub(super) type Found = Result<Given, Missing>;

/// What is given to who asked.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// The body of a response.
    Body(Bytes),
    Look(Arc<Look>),
    Families(Arc<[Family]>),
}

/// Why something cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is no such pool, not any more.
    Gone,
    /// Its thread had no time.
    Busy,
    /// Nothing is kept of that moment.
    Past,
}

type Question = (Wanted, Reply);

/// Who waits for the answer.
pub(super) enum Reply {
    /// A task.
    Task(oneshot::Sender<Found>),
    /// A thread, that does nothing else meanwhile.
    Thread(mpsc::SyncSender<Found>),
}

impl Reply {
    /// Whether nobody waits any more. A thread does until it is answered.
    fn is_closed(&self) -> bool {
        matches!(self, Self::Task(task) if task.is_closed())
    }

    fn send(self, found: Found) {
        // Who has gone needs nothing.
        match self {
            Self::Task(task) => drop(task.send(found)),
            Self::Thread(thread) => drop(thread.try_send(found)),
        }
    }
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Observer {
    questions: Option<mpsc::SyncSender<Question>>,
}

impl Observer {
    pub(super) fn start(state: Arc<State>) -> Self {
        let (questions, asked) = mpsc::sync_channel::<Question>(WAITING);
        let thread = std::thread::Builder::new().name("cenote-view".to_owned());
        let started = thread.spawn(move || observe(&state, &asked));
        Self { questions: started.is_ok().then_some(questions) }
    }

    /// Asks, without waiting.
    pub(super) fn ask(&self, wanted: Wanted) -> Result<oneshot::Receiver<Found>, Unavailable> {
        let (to, answer) = oneshot::channel();
        self.send(wanted, Reply::Task(to))?;
        Ok(answer)
    }

    /// Asks, and waits on this thread.
    pub(super) fn ask_and_wait(&self, wanted: Wanted) -> Result<Found, Unavailable> {
        let (to, answer) = mpsc::sync_channel(1);
        self.send(wanted, Reply::Thread(to))?;
        answer.recv().map_err(|_| Unavailable::NoThread)
    }

    fn send(&self, wanted: Wanted, to: Reply) -> Result<(), Unavailable> {
        let questions = self.questions.as_ref().ok_or(Unavailable::NoThread)?;
        questions.try_send((wanted, to)).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::TrySendError::Disconnected(_) => Unavailable::NoThread,
        })
    }
}

fn observe(state: &State, asked: &mpsc::Receiver<Question>) {
    loop {
        let first = match state.remember() {
            None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(next) => asked.recv_timeout(next.saturating_duration_since(Instant::now())),
        };
        let first = match first {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // All that wait share one look; each wanted it to begin after they asked.
        let waiting: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        let now = Now { state, look: OnceCell::new(), families: OnceCell::new() };
        let mut found: HashMap<Wanted, Found> = HashMap::new();
        for (wanted, to) in waiting {
            // A client that has gone needs nothing.
            if to.is_closed() {
                continue;
            }
            let answer = found.entry(wanted).or_insert_with_key(|wanted| now.find(wanted));
            to.send(answer.clone());
        }
    }
}

/// What is made once for all who wait, where one of them wants it.
struct Now<'a> {
    state: &'a State,
    look: OnceCell<Arc<Look>>,
    families: OnceCell<Arc<[Family]>>,
}

impl Now<'_> {
    fn look(&self) -> &Arc<Look> {
        self.look.get_or_init(|| Arc::new(self.state.look()))
    }

    fn families(&self) -> &Arc<[Family]> {
        let State { named, requests, .. } = self.state;
        self.families.get_or_init(|| families::families(self.look(), named, requests).into())
    }

    fn find(&self, wanted: &Wanted) -> Found {
        let state = self.state;
        let body = match wanted {
            Wanted::Look => return Ok(Given::Look(self.look().clone())),
            Wanted::Families => return Ok(Given::Families(self.families().clone())),
            Wanted::Json => json(&**self.look()),
            Wanted::Metrics(format) => exposition::text(self.families(), *format).into(),
            Wanted::Map(id) => json(&Document { schema: 1, id, map: state.map(id)? }),
            Wanted::Ago(seconds) => {
                state.then((*seconds).into(), |then| json(then)).ok_or(Missing::Past)?
            }
            Wanted::History => state.whole(|whole| json(whole)).ok_or(Missing::Past)?,
        };
        Ok(Given::Body(body))
    }
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: u32,
    id: &'a str,
    #[serde(flatten)]
    map: BlockMap,
}

fn json(document: &impl serde::Serialize) -> Bytes {
    // Strings and numbers: there is nothing in it that could fail.
    serde_json::to_vec(document).unwrap_or_default().into()
}

impl State {
    /// The blocks of a pool, asked of the thread that owns it.
    fn map(&self, id: &str) -> Result<BlockMap, Missing> {
        let (set, number) = id.split_once('-').ok_or(Missing::Gone)?;
        let number = number.parse().map_err(|_| Missing::Gone)?;
        if set == "s" {
            return self.shared.map(number).ok_or(Missing::Gone);
        }
        let index = set.strip_prefix('w').and_then(|index| index.parse::<usize>().ok());
        let (to, answer) = mpsc::channel();
        let asked = self.with_links(|links| {
            let link = links.iter().find(|link| Some(link.index) == index)?;
            link.asks.send(Ask::Map(number, to)).ok()
        });
        asked.ok_or(Missing::Gone)?;
        match answer.recv_timeout(PATIENCE) {
            Ok(map) => map.ok_or(Missing::Gone),
            Err(RecvTimeoutError::Timeout) => Err(Missing::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(Missing::Gone),
        }
    }
}
