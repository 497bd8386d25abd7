//! What a model is asked, by the settings.

use crate::{
    answer::Units,
    config::Settings,
    engine::task::{Asked, Task},
    models::preset::Preset,
    options::DraftChoice,
};

/// The task of a model with this preset, if it has one, and which measures boxes in these units.
pub(super) fn task(settings: &Settings, preset: Option<&Preset>, units: Units) -> Task {
    let given = settings.given;
    let asked = Asked {
        prompt: given.prompt.then(|| settings.prompt.clone()),
        format: settings.format,
        style: settings.style,
        units,
        max_new_tokens: given.max_new_tokens.then_some(settings.max_new_tokens),
        temperature: given.temperature.then_some(settings.temperature),
        seed: settings.seed,
        drafts: settings.draft != DraftChoice::Off,
        draft_head: settings.draft == DraftChoice::Mtp,
        batch_size: settings.batch_size,
    };
    asked.of(preset)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        answer::Reading,
        cli::{Cli, Command},
        options::OutputFormat,
    };

    fn task_of(model: &str, args: &str) -> Task {
        let words = ["omnidocs", "extract", "in"];
        let parsed = Cli::parse_from(words.into_iter().chain(args.split_whitespace()));
        let Command::Extract(typed) = parsed.command else {
            panic!("that is another command");
        };
        let settings = Settings::new(*typed).unwrap();
        task(&settings, Preset::of(model, None), Units::Pixels)
    }

    #[test]
    fn presets_say_what_options_do_not() {
        let plain = task_of("org/model", "");
        assert!(plain.prompt.contains("Markdown") && !plain.text_first && plain.drafts);
        assert_eq!(plain.sampling.max_new_tokens, 4096);

        let olmocr = task_of("allenai/olmOCR-2-7B-1025", "");
        assert!(olmocr.prompt.contains("front matter") && olmocr.text_first);
        assert_eq!(olmocr.reading, Reading::FrontMatter);
        assert_eq!(olmocr.sampling.max_new_tokens, 8000);
        assert!((olmocr.sampling.temperature - 0.1).abs() < 1e-9 && !olmocr.drafts);

        let chandra = task_of("datalab-to/chandra", "");
        assert_eq!(chandra.wanted.format, OutputFormat::Html);
        assert_eq!(task_of("lightonai/LightOnOCR-3-4B", "").prompt, "");
    }

    #[test]
    fn blocks_are_asked_for_in_the_dialect_of_the_model() {
        let task = |model: &str, more: &str| {
            let task = task_of(model, &format!("--format json {more}"));
            assert!(task.wanted.blocks && task.wanted.format == OutputFormat::Markdown);
            (task.prompt, task.reading)
        };
        let (prompt, reading) = task("org/model", "");
        assert_eq!(prompt, "qwenvl html");
        assert_eq!(reading, Reading::Layout(Units::Pixels));
        let (prompt, reading) = task("datalab-to/chandra-ocr-2", "");
        assert!(prompt.contains("data-bbox"), "{prompt}");
        assert_eq!(reading, Reading::Layout(Units::Thousandths));
        let (_, reading) = task("FireRedTeam/FireRed-OCR", "");
        assert_eq!(reading, Reading::Free(Units::Pixels));
        let asked = task("org/model", "--prompt Read.");
        assert_eq!(asked, ("Read.".to_owned(), Reading::Free(Units::Pixels)));
    }

    #[test]
    fn options_replace_what_presets_say() {
        let model = "allenai/olmOCR-2-7B-1025";
        let typed = task_of(
            model,
            "--prompt Read. --max-new-tokens 7 --temperature 0 --format text",
        );
        assert_eq!(typed.prompt, "Read.");
        assert_eq!(typed.wanted.format, OutputFormat::Text);
        assert_eq!(typed.sampling.max_new_tokens, 7);
        assert!(typed.drafts, "greedy answers are drafted");
        let html = task_of(model, "--format html");
        assert!(html.prompt.contains("HTML with semantic tags"));
        assert_eq!(html.wanted.format, OutputFormat::Html);
    }
}
