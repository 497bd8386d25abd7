//! A source of items that may not be ready yet, so that a consumer can wait for something else too.

use anyhow::Result;
use crossbeam_channel::Select;

use crate::page::PreparedPage;

/// The result of polling a source.
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

    /// Adds to `select` the channels that signal when [`poll`](Self::poll) may return something other than
    /// [`Next::NotYet`].
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
