//! What the files of `src` import.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::tokens::{Token, group_end, tokens};

/// From each file to those that it uses.
pub type Edges = BTreeMap<String, BTreeSet<String>>;

/// Through how many modules a name may pass; more would be a name that leads to itself.
const MAX_HOPS: usize = 8;

/// All files of `src`.
pub struct Source {
    pub files: Vec<File>,
}

impl Source {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder of src") {
                let path = entry.expect("an entry of src").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(&path).expect("a file of src");
                    let name = path.strip_prefix(&root).expect("a file below src");
                    let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                    files.push(File::parse(&name.join("/"), &text));
                }
            }
        }
        assert!(!files.is_empty(), "there are no files in src");
        Self::new(files)
    }

    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::new(
            files
                .iter()
                .map(|(path, text)| File::parse(path, text))
                .collect(),
        )
    }

    /// Leaves out files that are modules of tests alone.
    fn new(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let tests: Vec<Vec<String>> = files
            .iter()
            .flat_map(|file| {
                let below = |name: &String| [&file.module[..], std::slice::from_ref(name)].concat();
                file.test_modules.iter().map(below)
            })
            .collect();
        files.retain(|file| !tests.iter().any(|module| file.module.starts_with(module)));
        Self { files }
    }

    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for file in &self.files {
            let uses = edges.entry(file.path.clone()).or_default();
            for import in &file.imports {
                let Some(path) = self.absolute(&import.path, file, 0) else {
                    continue;
                };
                let Some((found, rest)) = self.resolve(&path, 0) else {
                    continue;
                };
                let passed_on = import.public
                    && found.module.starts_with(&file.module)
                    && !file.words.contains(&import.name);
                // A module is used where a path begins with it.
                if !rest.is_empty() && !passed_on {
                    uses.insert(found.path.clone());
                }
            }
            for path in &file.paths {
                let Some(path) = self.absolute(path, file, 0) else {
                    continue;
                };
                if let Some((found, rest)) = self.resolve(&path, 0)
                    && !rest.is_empty()
                {
                    uses.insert(found.path.clone());
                }
            }
            uses.remove(&file.path);
        }
        edges
    }

    fn module(&self, module: &[String]) -> Option<&File> {
        self.files
            .iter()
            .find(|file| file.module == module && file.path != "main.rs")
    }

    /// The path from the top of the library, if it leads there.
    fn absolute(&self, path: &[String], file: &File, hops: usize) -> Option<Vec<String>> {
        let first = path.first()?;
        let child = [&file.module[..], &path[..1]].concat();
        match first.as_str() {
            "omnidocs" if file.path == "main.rs" => Some(path[1..].to_vec()),
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&file.module[..], &path[1..]].concat()),
            "super" => {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let above = file.module.len().checked_sub(supers)?;
                Some([&file.module[..above], &path[supers..]].concat())
            }
            _ if file.path != "main.rs" && self.module(&child).is_some() => {
                Some([&file.module[..], path].concat())
            }
            _ => {
                let import = file.imports.iter().find(|import| import.name == *first)?;
                if hops == MAX_HOPS {
                    return None;
                }
                let start = self.absolute(&import.path, file, hops + 1)?;
                let (_, rest) = self.resolve(&start, hops + 1)?;
                rest.is_empty().then(|| [&start[..], &path[1..]].concat())
            }
        }
    }

    /// The file that defines what a path from the top leads to, and what of the path is inside it.
    fn resolve(&self, path: &[String], hops: usize) -> Option<(&File, Vec<String>)> {
        let mut length = 0;
        while length < path.len() && self.module(&path[..=length]).is_some() {
            length += 1;
        }
        let file = self.module(&path[..length])?;
        let rest = &path[length..];
        // The name may only pass through here.
        if let Some(name) = rest.first()
            && hops < MAX_HOPS
            && let Some(import) = file.imports.iter().find(|import| import.name == *name)
            && let Some(target) = self.absolute(&import.path, file, hops + 1)
        {
            return self.resolve(&[&target[..], &rest[1..]].concat(), hops + 1);
        }
        Some((file, rest.to_vec()))
    }
}

/// One leaf of a `use`.
#[derive(Debug)]
pub struct Import {
    path: Vec<String>,
    /// What it is called here; `*` for all that is there.
    name: String,
    public: bool,
}

impl Import {
    pub fn describe(&self) -> String {
        let public = if self.public { "pub " } else { "" };
        format!("{public}{} as {}", self.path.join("::"), self.name)
    }
}

pub struct File {
    /// Below `src`, with `/`.
    pub path: String,
    module: Vec<String>,
    pub lines: usize,
    pub names_candle: bool,
    pub imports: Vec<Import>,
    /// Paths of two and more parts outside `use`, as they are written.
    pub paths: Vec<Vec<String>>,
    /// All words outside `use`.
    words: BTreeSet<String>,
    /// Files that are modules of tests alone.
    pub test_modules: Vec<String>,
}

impl File {
    pub fn parse(path: &str, text: &str) -> Self {
        let mut module: Vec<String> = path
            .trim_end_matches(".rs")
            .split('/')
            .map(Into::into)
            .collect();
        if module
            .last()
            .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
        {
            module.pop();
        }
        let all = tokens(text);
        let names_candle = all
            .iter()
            .any(|token| matches!(token, Token::Word(word) if word.starts_with("candle_")));
        let mut file = Self {
            path: path.into(),
            module,
            lines: text.lines().count(),
            names_candle,
            imports: Vec::new(),
            paths: Vec::new(),
            words: BTreeSet::new(),
            test_modules: Vec::new(),
        };
        let tokens = file.without_tests(&all);
        file.walk(&tokens);
        file
    }

    /// Leaves out the items under `#[cfg(test)]`.
    fn without_tests(&mut self, tokens: &[Token]) -> Vec<Token> {
        let mut kept = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let attribute = tokens[at..].starts_with(&[Token::Mark('#'), Token::Mark('[')]);
            let end = if attribute {
                group_end(tokens, at + 1)
            } else {
                at + 1
            };
            let says = |word: &str| tokens[at..end].contains(&Token::Word(word.into()));
            if !(attribute && says("cfg") && says("test") && !says("not")) {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
                continue;
            }
            at = end;
            while tokens[at..].starts_with(&[Token::Mark('#'), Token::Mark('[')]) {
                at = group_end(tokens, at + 1);
            }
            if let [Token::Word(word), Token::Word(name), Token::Mark(';'), ..] = &tokens[at..]
                && word == "mod"
            {
                self.test_modules.push(name.clone());
            }
            while at < tokens.len() {
                match tokens[at] {
                    Token::Mark(';') => {
                        at += 1;
                        break;
                    }
                    Token::Mark('{') => {
                        at = group_end(tokens, at);
                        break;
                    }
                    Token::Mark('(' | '[') => at = group_end(tokens, at),
                    _ => at += 1,
                }
            }
        }
        kept
    }

    /// Finds imports, paths and words.
    fn walk(&mut self, tokens: &[Token]) {
        let mut at = 0;
        while at < tokens.len() {
            let Token::Word(word) = &tokens[at] else {
                at += 1;
                continue;
            };
            // `use<'a>` in a type is not an import.
            if word == "use" && tokens.get(at + 1) != Some(&Token::Mark('<')) {
                let public = at > 0
                    && (tokens[at - 1] == Token::Word("pub".into())
                        || tokens[at - 1] == Token::Mark(')'));
                at += 1;
                self.read_use_tree(tokens, &mut at, &[], public);
                continue;
            }
            let mut path = vec![word.clone()];
            at += 1;
            while let [Token::Colons, Token::Word(next), ..] = &tokens[at..] {
                path.push(next.clone());
                at += 2;
            }
            self.words.extend(path.iter().cloned());
            if path.len() > 1 {
                self.paths.push(path);
            }
        }
    }

    fn read_use_tree(&mut self, tokens: &[Token], at: &mut usize, above: &[String], public: bool) {
        let mut path = above.to_vec();
        let mut name = None;
        while let Some(token) = tokens.get(*at) {
            match token {
                Token::Colons => {}
                Token::Word(word) if word == "as" => name = Some(String::new()),
                Token::Word(word) if name.is_some() => name = Some(word.clone()),
                Token::Word(word) => path.push(word.clone()),
                Token::Mark('*') => path.push("*".into()),
                Token::Mark('{') => {
                    *at += 1;
                    while !matches!(tokens.get(*at), None | Some(Token::Mark('}'))) {
                        self.read_use_tree(tokens, at, &path, public);
                        if tokens.get(*at) == Some(&Token::Mark(',')) {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                Token::Mark(_) => break,
            }
            *at += 1;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        self.imports.push(Import { path, name, public });
    }
}
