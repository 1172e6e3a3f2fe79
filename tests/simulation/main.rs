//! Worlds that a seed makes, and what must be true in each of them.

mod multiset;
mod points;
mod seeds;
