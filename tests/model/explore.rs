//! Visits every state that can be reached, and tells the shortest way to one that breaks a promise.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// One step, in words: each `{}` is filled with one of the numbers.
#[derive(Clone, Copy)]
pub(crate) struct Said(pub(crate) &'static str, pub(crate) u8, pub(crate) u8);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = [self.1, self.2].into_iter();
        let mut pieces = self.0.split("{}");
        f.write_str(pieces.next().unwrap_or_default())?;
        for piece in pieces {
            write!(f, "{}{piece}", numbers.next().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// A step that can be taken.
pub(crate) struct Step<State> {
    pub(crate) said: Said,
    /// Whether it need not happen: something breaks, or somebody else does something.
    pub(crate) optional: bool,
    pub(crate) state: State,
}

/// A world to be explored.
pub(crate) trait Model {
    type State: Clone + Hash;
    fn first(&self) -> Self::State;
    /// The steps that can be taken. Where nothing breaks any more, the first that is not optional
    /// is taken; where there is none, everything has come to its end.
    fn steps(&self, state: &Self::State) -> Vec<Step<Self::State>>;
    /// What is wrong with a state.
    fn wrong(&self, state: &Self::State, is_end: bool) -> Option<String>;
}

/// A promise that was broken, and how it came to that.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) what: String,
    pub(crate) way: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.way.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        write!(f, "  => {}", self.what)
    }
}

/// How much was explored.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) ends: usize,
    /// Steps on the longest of the shortest ways.
    pub(crate) depth: usize,
}

/// States are told apart by 128 bits of their encoding: with a hundred million of them two are taken
/// for one with a probability of about 10^-23.
type Seen = HashMap<u128, u32, BuildHasherDefault<Halved>>;

/// Its keys are hashes already.
#[derive(Default)]
struct Halved(u64);

impl Hasher for Halved {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets.iter().take(8) {
            self.0 = self.0 << 8 | u64::from(*octet);
        }
    }
}

/// Gathers what `derive(Hash)` tells of a state into octets.
#[derive(Default)]
struct Encoding(Vec<u8>);

impl Hasher for Encoding {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn write_usize(&mut self, number: usize) {
        self.0.push(u8::try_from(number).expect("lists in a state are short"));
    }

    fn write_isize(&mut self, number: isize) {
        self.0.push(u8::try_from(number).expect("enums in a state are small"));
    }
}

fn key(state: &impl Hash, encoding: &mut Encoding) -> u128 {
    encoding.0.clear();
    state.hash(encoding);
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(&encoding.0);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// How a state was reached first, and where it goes when nothing breaks any more.
struct Node {
    parent: u32,
    step: u16,
    fair: u32,
}

const NOWHERE: u32 = u32::MAX;

/// Explores everything, breadth first.
///
/// # Errors
///
/// The shortest way to a broken promise.
pub(crate) fn explore<M: Model>(model: &M) -> Result<Explored, Broken> {
    let mut seen = Seen::default();
    let mut nodes: Vec<Node> = Vec::new();
    let mut encoding = Encoding::default();
    let mut explored = Explored::default();
    let first = model.first();
    seen.insert(key(&first, &mut encoding), 0);
    nodes.push(Node { parent: NOWHERE, step: 0, fair: NOWHERE });
    let mut level = vec![(0_u32, first)];
    while !level.is_empty() {
        explored.depth += 1;
        let mut next = Vec::new();
        for (number, state) in level {
            let steps = model.steps(&state);
            let is_end = steps.iter().all(|step| step.optional);
            explored.ends += usize::from(is_end);
            if let Some(what) = model.wrong(&state, is_end) {
                return Err(Broken { what, way: way(model, &nodes, number) });
            }
            for (index, Step { optional, state, .. }) in steps.into_iter().enumerate() {
                explored.steps += 1;
                let new = u32::try_from(nodes.len()).expect("fewer states than fit");
                let known = *seen.entry(key(&state, &mut encoding)).or_insert(new);
                if known == new {
                    let step = u16::try_from(index).expect("few steps");
                    nodes.push(Node { parent: number, step, fair: NOWHERE });
                    next.push((new, state));
                }
                let node = &mut nodes[number as usize];
                if node.fair == NOWHERE && !optional {
                    node.fair = known;
                }
            }
        }
        level = next;
    }
    explored.states = nodes.len();
    match endless(&nodes) {
        None => Ok(explored),
        Some(number) => {
            let what = "it never ends, though nothing breaks any more".to_owned();
            Err(Broken { what, way: way(model, &nodes, number) })
        }
    }
}

/// A state from which the steps that are not optional lead round and round.
fn endless(nodes: &[Node]) -> Option<u32> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnTheWay,
        Ends,
    }
    let mut marks = vec![Mark::New; nodes.len()];
    for first in 0..u32::try_from(nodes.len()).expect("fewer states than fit") {
        let mut at = first;
        while at != NOWHERE && marks[at as usize] == Mark::New {
            marks[at as usize] = Mark::OnTheWay;
            at = nodes[at as usize].fair;
        }
        if at != NOWHERE && marks[at as usize] == Mark::OnTheWay {
            return Some(at);
        }
        at = first;
        while at != NOWHERE && marks[at as usize] == Mark::OnTheWay {
            marks[at as usize] = Mark::Ends;
            at = nodes[at as usize].fair;
        }
    }
    None
}

/// The steps to a state, in words.
fn way<M: Model>(model: &M, nodes: &[Node], number: u32) -> Vec<String> {
    let mut indexes = Vec::new();
    let mut at = &nodes[number as usize];
    while at.parent != NOWHERE {
        indexes.push(at.step);
        at = &nodes[at.parent as usize];
    }
    let mut state = model.first();
    let mut way = Vec::new();
    for index in indexes.into_iter().rev() {
        let step = model.steps(&state).swap_remove(usize::from(index));
        way.push(step.said.to_string());
        state = step.state;
    }
    way
}

/// A state, or a part of one, in as few octets as tell it from others.
pub(crate) fn encode(part: &impl Hash) -> Vec<u8> {
    let mut encoding = Encoding::default();
    part.hash(&mut encoding);
    encoding.0
}
