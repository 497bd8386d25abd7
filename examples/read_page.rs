//! Reads a page of a PDF with a model and prints what it says: `cargo run --release --example read_page [FILE [MODEL]]`.

use std::env;

use omnidocs::Reader;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next();
    let model = arguments.next();
    let mut reader = Reader::open(model.as_deref().unwrap_or("examples/reader"))?;
    let record = reader.read_page(file.as_deref().unwrap_or("examples/pages/note.pdf"), 1)?;
    match record.error {
        Some(error) => anyhow::bail!("{}, page {}: {error}", record.path, record.page),
        None => println!("{}", record.content.unwrap_or_default()),
    }
    Ok(())
}
