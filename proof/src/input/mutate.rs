//! Inputs from inputs: small changes, several at a time.

use rand::Rng;
use rand::rngs::StdRng;

use super::corpus::Corpus;

/// A mutated input grows no further than this.
const LENGTH_MAX: usize = 256 << 10;
/// Changes to one input.
const CHANGES_MAX: usize = 6;

/// An entry of the corpus, changed.
pub(super) fn from_corpus(dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
    let mut input = one_of(dice, &corpus.entries).clone();
    mutate(dice, &mut input, corpus);
    input
}

/// Changes an input.
pub(super) fn mutate(dice: &mut StdRng, input: &mut Vec<u8>, corpus: &Corpus) {
    for _ in 0..dice.random_range(1..=CHANGES_MAX) {
        change(dice, input, corpus);
        input.truncate(LENGTH_MAX);
    }
}

/// A word of the corpus, as text.
pub(super) fn word(dice: &mut StdRng, corpus: &Corpus) -> String {
    String::from_utf8_lossy(one_of::<Vec<u8>>(dice, &corpus.words)).into_owned()
}

/// Any of them.
pub(super) fn one_of<'a, T>(dice: &mut StdRng, of: &'a [T]) -> &'a T {
    let place = dice.random_range(0..of.len());
    of.get(place).unwrap_or_else(|| unreachable!("{place} is below the length"))
}

fn change(dice: &mut StdRng, input: &mut Vec<u8>, corpus: &Corpus) {
    let at = dice.random_range(0..=input.len());
    let end = (at + dice.random_range(0..16)).min(input.len());
    let insert = |input: &mut Vec<u8>, at: usize, what: &[u8]| {
        input.splice(at..at, what.iter().copied()).for_each(drop);
    };
    match dice.random_range(0..12) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            let again = input.get(at..end).unwrap_or_default().to_vec();
            insert(input, at, &again);
        }
        3 => flip(dice, input, at),
        4 => {
            let bytes: [u8; 4] = dice.random();
            insert(input, at, bytes.get(..dice.random_range(1..=4)).unwrap_or_default());
        }
        5 => digit(dice, input, at),
        6 => {
            // A part of another input in the place of a part of this one.
            let other = one_of(dice, &corpus.entries);
            let from = dice.random_range(0..=other.len());
            let to = (from + dice.random_range(0..64)).min(other.len());
            let part = other.get(from..to).unwrap_or_default();
            input.splice(at..end, part.iter().copied()).for_each(drop);
        }
        7 => {
            let word = one_of(dice, &corpus.words).clone();
            let times = if dice.random_ratio(1, 8) { dice.random_range(1..300) } else { 1 };
            insert(input, at, &word.repeat(times));
        }
        8 => {
            // A word in the place of a word.
            let (start, end) = word_at(input, at);
            let word = one_of(dice, &corpus.words).clone();
            input.splice(start..end, word).for_each(drop);
        }
        9 => {
            let (start, end) = word_at(input, at);
            input.drain(start..end).for_each(drop);
        }
        _ => {
            let word = one_of(dice, &corpus.words).clone();
            insert(input, at, &word);
        }
    }
}

fn flip(dice: &mut StdRng, input: &mut [u8], at: usize) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << dice.random_range(0..8);
    }
}

/// Changes the next digit from `at` on.
fn digit(dice: &mut StdRng, input: &mut [u8], at: usize) {
    let digit = input.iter_mut().skip(at).find(|byte| byte.is_ascii_digit());
    if let Some(digit) = digit {
        *digit = dice.random_range(b'0'..=b'9');
    }
}

/// Where the word at `at` begins and ends.
fn word_at(input: &[u8], at: usize) -> (usize, usize) {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let before =
        input.get(..at).unwrap_or_default().iter().rev().take_while(|b| in_word(b)).count();
    let after = input.get(at..).unwrap_or_default().iter().take_while(|b| in_word(b)).count();
    (at - before, at + after)
}
