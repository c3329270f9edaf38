//! The view's own thread: it looks when asked, so that no thread of the service has to.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::local::Ask;
use super::map::BlockMap;
use super::metrics::Format;
use super::{State, metrics};

/// How long a thread may take to tell the blocks of one pool.
const PATIENCE: Duration = Duration::from_millis(500);
/// Questions that may wait; beyond that there is no answer.
const WAITING: usize = 256;

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
}

/// What comes of it.
pub(super) type Found = Result<Bytes, Missing>;

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

type Question = (Wanted, oneshot::Sender<Found>);

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

    /// Asks, without waiting; `None` where too many wait already.
    pub(super) fn ask(&self, wanted: Wanted) -> Option<oneshot::Receiver<Found>> {
        let (to, answer) = oneshot::channel();
        self.questions.as_ref()?.try_send((wanted, to)).ok()?;
        Some(answer)
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
        let mut look = None;
        let mut found: HashMap<Wanted, Found> = HashMap::new();
        for (wanted, to) in waiting {
            // A client that has gone needs nothing.
            if to.is_closed() {
                continue;
            }
            let answer = found.entry(wanted).or_insert_with_key(|wanted| match wanted {
                Wanted::Map(id) => state.map(id).map(|map| json(&Document { schema: 1, id, map })),
                Wanted::Ago(seconds) => {
                    state.then((*seconds).into(), |then| json(then)).ok_or(Missing::Past)
                }
                Wanted::History => state.whole(|whole| json(whole)).ok_or(Missing::Past),
                Wanted::Json => Ok(json(look.get_or_insert_with(|| state.look()))),
                Wanted::Metrics(format) => {
                    let look = look.get_or_insert_with(|| state.look());
                    Ok(Bytes::from(metrics::text(look, &state.named, *format)))
                }
            });
            let _ = to.send(answer.clone());
        }
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
