//! Projects as people read them.

use comfy_table::Cell;
use time::Duration;

use ckrv_types::identity::{Project, ProjectSettings};

use crate::duration::{age, moment, show};
use crate::format::{Row, Show, View, named, short, since};

impl Row for Project {
    const HEADER: &'static [&'static str] = &["PROJECT", "NAME", "AGE", "AT ONCE", "SETTINGS", "STATE"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.id),
            short(&self.name, 63),
            Cell::new(age(self.created_at)),
            Cell::new(self.settings.concurrency.map(|most| most.to_string()).unwrap_or_default()),
            short(&others(&self.settings), 80),
            if self.is_default { Cell::new("default") } else { since("archived", self.archived_at) },
        ]
    }
}

/// The settings but for how many at once, in a few words.
fn others(settings: &ProjectSettings) -> String {
    let class = settings.class.as_ref().map(|class| format!("class {class}"));
    let run = settings.max_run_seconds.map(|seconds| format!("runs {} at most", length(seconds)));
    let classes = (!settings.classes.is_empty()).then(|| format!("classes {}", settings.classes.join("|")));
    let repositories = (!settings.repositories.is_empty()).then(|| format!("only {}", settings.repositories.join(" ")));
    [class, classes, run, repositories].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn length(seconds: u32) -> String {
    show(Duration::seconds(seconds.into()))
}

impl Show for Project {
    fn table(&self, view: View) -> String {
        let ProjectSettings { concurrency, class, classes, max_run_seconds, repositories } = &self.settings;
        let list = |list: &[String], glue| (!list.is_empty()).then(|| Cell::new(crate::format::lines(list, glue)));
        view.fields([
            ("project", Some(named(&self.name, self.id))),
            ("default", self.is_default.then(|| Cell::new("jobs go here unless another project is named"))),
            ("made", Some(Cell::new(moment(self.created_at)))),
            ("archived", self.archived_at.map(|at| Cell::new(moment(at)))),
            ("at once", concurrency.map(Cell::new)),
            ("class", class.as_deref().map(|class| short(class, 63))),
            ("classes", list(classes, ", ")),
            ("longest run", max_run_seconds.map(|seconds| Cell::new(length(seconds)))),
            ("repositories", list(repositories, "\n")),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}
