//! The report's page, opened in a browser.

#[expect(dead_code)]
mod report_lab;

#[test]
fn pages_are_written_for_eyes() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stories = [
        ("holding", report_lab::holding()),
        ("violated", report_lab::violated()),
        ("undecided", report_lab::undecided()),
        ("hostile", report_lab::hostile()),
        ("big", report_lab::big()),
    ];
    for (name, story) in stories {
        let began = std::time::SystemTime::UNIX_EPOCH.elapsed();
        println!("{name} {} {}", story.calls.begin.len(), story.messages.at.len());
        let html = raftq::report::page::page(&story);
        println!("{name} {} {:?}", html.len(), began);
        std::fs::write(folder.join(format!("{name}.html")), html).expect("writable");
    }
}
