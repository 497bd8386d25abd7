//! A source of things that may not be ready yet: whoever waits for the next one can wait for something else at the same time.

use anyhow::Result;
use crossbeam_channel::Select;

use crate::page::PreparedPage;

/// What a source has, when it is asked for the next of its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<T> {
    /// This one.
    Item(T),
    /// Nothing yet.
    NotYet,
    /// Nothing any more.
    End,
}

/// Gives pages, in the order of the input.
pub trait PageSource<T = PreparedPage> {
    /// The next one, if it is ready. Does not wait.
    ///
    /// # Errors
    /// There will be no further one, and the input has not ended.
    fn poll(&mut self) -> Result<Next<T>>;

    /// Adds what tells that [`poll`](Self::poll) may have something else to say than [`Next::NotYet`] to what `select`
    /// waits for.
    fn watch<'a>(&'a self, select: &mut Select<'a>);
}

/// A source whose items are all there.
#[derive(Debug)]
pub struct Ready<I>(pub I);

impl<I: Iterator> PageSource<I::Item> for Ready<I> {
    fn poll(&mut self) -> Result<Next<I::Item>> {
        Ok(self.0.next().map_or(Next::End, Next::Item))
    }

    fn watch<'a>(&'a self, _: &mut Select<'a>) {}
}
