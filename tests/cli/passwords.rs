//! Passwords of PDFs: they open documents, and are seen nowhere.

use std::fs;

use omnidocs::{error::ErrorKind, record::Status};

use crate::common::{Ran, Room};

/// A room with an encrypted PDF, whose password is `secret`.
fn room() -> Room {
    let room = Room::new();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/encrypted.pdf");
    room.put("a.pdf", fs::read(data).unwrap());
    room
}

#[test]
fn password_is_taken_from_flag_environment_or_file() {
    let room = room();
    room.put("passwords.txt", "another\n\nsecret\n");
    let from_environment = |name: &str, value: &str| {
        let mut command = room.text_layer("a.pdf");
        command.env(name, value);
        Ran::of(&mut command)
    };
    for ran in [
        room.extract("a.pdf --password secret"),
        room.extract("a.pdf --password-file passwords.txt"),
        room.extract("a.pdf --password wrong --password-file passwords.txt"),
        from_environment("OMNIDOCS_PASSWORD", "secret"),
        from_environment("OMNIDOCS_PASSWORD_FILE", "passwords.txt"),
    ] {
        let records = ran.expect(0).records();
        assert_eq!(records[0].status, Status::Ok);
        assert_eq!(records[0].content.as_deref(), Some("secret"));
    }
}

#[test]
fn encrypted_pdf_without_its_password_names_the_option() {
    let room = room();
    for (args, option) in [("", "--password"), ("--password wrong", "--password-file")] {
        let records = room.extract(&format!("a.pdf {args}")).expect(3).records();
        let error = records[0].error.as_ref().unwrap();
        assert_eq!((records[0].page, error.kind), (0, ErrorKind::Encrypted));
        assert!(error.message.contains(option), "{error}");
    }
    let ran = room.extract("a.pdf --password-file gone.txt").expect(2);
    assert!(
        ran.stderr.contains("cannot read --password-file gone.txt"),
        "{}",
        ran.stderr
    );
}

#[test]
fn password_is_never_written_or_logged() {
    let room = room();
    room.put("passwords.txt", "in-the-file\n");
    let args = "a.pdf -vv -o r.jsonl --password typed-in --password-file passwords.txt";
    let mut command = room.text_layer(args);
    command.env("RUST_LOG", "trace");
    let ran = Ran::of(&mut command).expect(3);
    let mut seen = ran.stderr + &ran.stdout;
    for file in fs::read_dir(room.path("")).unwrap() {
        let path = file.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "pdf" && extension != "txt")
        {
            seen += &fs::read_to_string(path).unwrap();
        }
    }
    assert!(seen.contains("needs another password"), "{seen}");
    // What is typed again is not shown either: "again" would have to repeat it.
    for password in ["typed-in", "in-the-file"] {
        assert!(!seen.contains(password), "{seen}");
    }
}

#[test]
fn report_has_pictures_of_encrypted_pdfs_and_never_the_passwords() {
    let room = room();
    room.put("passwords.txt", "in-the-file\nsecret\n");
    room.extract("a.pdf -o r.jsonl --password secret").expect(0);
    let report = |args: &str| {
        let mut command = room.omnidocs(&format!("report r.jsonl -o report.html {args}"));
        command.env("RUST_LOG", "trace");
        let ran = Ran::of(&mut command).expect(0);
        let html = room.read("report.html");
        for password in ["typed-in", "in-the-file"] {
            assert!(!html.contains(password), "{html}");
            assert!(!ran.stderr.contains(password), "{}", ran.stderr);
        }
        html
    };
    for args in [
        "--password secret",
        "--password typed-in --password-file passwords.txt",
    ] {
        let html = report(args);
        assert!(html.contains("data:image/jpeg;base64,"), "{html}");
    }
    for (args, why) in [
        ("", "the PDF needs a password"),
        ("--password typed-in", "the PDF needs another password"),
    ] {
        let html = report(args);
        assert!(html.contains(&format!("no picture: {why}")), "{html}");
    }
    let ran = Ran::of(&mut room.omnidocs("report r.jsonl -o x.html --password-file gone.txt"));
    let error = ran.expect(2).stderr;
    assert!(
        error.contains("cannot read --password-file gone.txt"),
        "{error}"
    );
}

/// A process that decodes learns passwords through its input alone.
#[cfg(target_os = "linux")]
#[test]
fn password_is_in_no_worker_s_command_line_or_environment() {
    let room = room();
    room.extract("a.pdf -o r.jsonl --password secret").expect(0);
    for args in [
        "extract a.pdf --engine text-layer",
        "report r.jsonl -o report.html",
    ] {
        let mut command = room.omnidocs(args);
        command
            .env("OMNIDOCS_PASSWORD", "very-secret-password")
            .env("OMNIDOCS_WORKER_FAULTS", "hang:0");
        let (line, environment) = worker_of(&mut command);
        assert!(!line.contains("very-secret-password"), "{args}");
        assert!(!environment.contains("very-secret-password"), "{args}");
    }
}

/// The command line and the environment of a process that decodes for this program.
#[cfg(target_os = "linux")]
fn worker_of(command: &mut assert_cmd::Command) -> (String, String) {
    let mut run = crate::common::spawn(command);
    let processes = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.filter_map(|process| {
            let read = |name| fs::read(process.path().join(name)).ok();
            let line = String::from_utf8_lossy(&read("cmdline")?).into_owned();
            let parent = String::from_utf8_lossy(&read("stat")?).into_owned();
            let environment = String::from_utf8_lossy(&read("environ")?).into_owned();
            let parent = parent.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
            Some((parent, line, environment))
        })
    };
    let parent = run.id().to_string();
    let begin = std::time::Instant::now();
    let mut found = None;
    while found.is_none() && begin.elapsed().as_secs() < 20 {
        found = processes().find(|(of, line, environment)| {
            *of == parent && line.contains("prepare-worker") && environment.contains("PATH=")
        });
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let (_, line, environment) = found.expect("no process that decodes was ever seen");
    (line, environment)
}
