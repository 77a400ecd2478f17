//! The report's page, opened in a browser: what a reader sees, reaches by keys, prints, and what
//! hostile names cannot do.

mod report_lab;

use fantoccini::Client;
use fantoccini::actions::{InputSource, WheelAction, WheelActions};
use fantoccini::key::Key;
use fantoccini::wd::PrintConfiguration;
use raftq::report::page::page;
use raftq::report::story::Story;
use report_lab::browser::{ask, browse, complaints, devtools, open, press, until};
use report_lab::{big, holding, hostile, undecided, untraced, violated};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const TIMELINE: &str = "document.getElementById('timeline-canvas').dataset";

/// Where the page of a story stands.
fn written(name: &str, story: &Story) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.html"));
    fs::write(&path, page(story)).expect("a page beside the tests' programs");
    path
}

async fn number(client: &Client, expression: &str) -> f64 {
    let value = ask(client, &format!("Number({expression})")).await;
    value.as_f64().unwrap_or_else(|| panic!("{expression} is no number: {value}"))
}

/// What the timeline shows, in microseconds.
async fn shown(client: &Client) -> (f64, f64) {
    let from = number(client, &format!("{TIMELINE}.from")).await;
    (from, number(client, &format!("{TIMELINE}.to")).await)
}

/// Waits until timeline and charts have drawn another stretch than this one.
async fn moved(client: &Client, before: (f64, f64)) -> (f64, f64) {
    until(client, &format!("{TIMELINE}.from != {} || {TIMELINE}.to != {}", before.0, before.1))
        .await;
    let now = shown(client).await;
    let charts = "document.querySelector('.charts')?.dataset";
    until(client, &format!("!{charts} || {charts}.from == {} && {charts}.to == {}", now.0, now.1))
        .await;
    now
}

async fn silent(client: &Client) {
    let complaints = complaints(client).await;
    assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
}

/// Where the timeline's keys arrive.
async fn focus_timeline(client: &Client) {
    // By the ways that a reader without a mouse has: the link that skips the head, and Tab.
    press(client, &[Key::Tab.into(), Key::Enter.into()]).await;
    let reached = "document.activeElement.id == 'timeline-canvas'";
    for _ in 0..12 {
        if ask(client, reached).await == Value::Bool(true) {
            return;
        }
        press(client, &[Key::Tab.into()]).await;
    }
    panic!("twelve times Tab behind the skip link, and the timeline is not reached");
}

#[test]
fn each_verdict_is_told_and_nothing_is_asked_of_the_network() {
    browse(async |client| {
        let stories = [
            ("holding", holding(), "It held", true),
            ("violated", violated(), "Violated", true),
            ("undecided", undecided(), "Undecided", false),
        ];
        for (name, story, said, clients) in stories {
            open(&client, &written(name, &story)).await;
            assert_eq!(ask(&client, "document.documentElement.dataset.ready").await, "yes");
            let verdict = ask(&client, "document.getElementById('verdict').innerText").await;
            assert!(verdict.as_str().is_some_and(|v| v.contains(said)), "{name}: {verdict}");
            let title = ask(&client, "document.title").await;
            assert_eq!(title, format!("{}: {} – raftq", story.run.scenario, story.verdict.word));
            let drawn = number(&client, &format!("{TIMELINE}.primitives")).await;
            assert!(drawn > 100.0, "{name}: {drawn} shapes");
            let charts = ask(&client, "document.querySelectorAll('.uplot canvas').length").await;
            assert_eq!(charts, if clients { 2 } else { 0 }, "{name}: no calls, no charts");
            let asked = "performance.getEntriesByType('resource').map(r => r.name)";
            assert_eq!(ask(&client, asked).await, json!([]), "{name}");
            silent(&client).await;
        }
    });
}

#[test]
fn the_policy_refuses_whatever_is_not_the_pages_own() {
    browse(async |client| {
        open(&client, &written("policy", &holding())).await;
        let tries = "window.refused = []; \
            addEventListener('securitypolicyviolation', e => refused.push(e.effectiveDirective)); \
            const put = (tag, set) => \
              document.body.append(Object.assign(document.createElement(tag), set)); \
            put('script', { textContent: 'document.title = \"owned\"' }); \
            put('style', { textContent: 'body { display: none }' }); \
            put('img', { src: 'http://127.0.0.1:9/x.png' });";
        client.execute(tries, vec![]).await.expect("it is tried");
        until(&client, "refused.length >= 3").await;
        let refused = ask(&client, "refused.sort()").await;
        assert_eq!(refused, json!(["img-src", "script-src-elem", "style-src-elem"]));
        assert_eq!(ask(&client, "document.title").await, "demo: holds – raftq");
        assert!(!complaints(&client).await.is_empty(), "a refusal is a complaint that is heard");
    });
}

#[test]
fn a_story_that_cannot_be_read_leaves_the_verdict_and_says_so() {
    browse(async |client| {
        let whole = page(&violated());
        let (head, packed) = whole.split_once("id=\"story\">").expect("the story is in the page");
        let broken = format!("{head}id=\"story\">H4sI{}", &packed[400..]);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken.html");
        fs::write(&path, broken).expect("a page beside the tests' programs");
        open(&client, &path).await;
        assert_eq!(ask(&client, "document.documentElement.dataset.ready").await, "broken");
        let said = ask(&client, "document.querySelector('[role=alert]').innerText").await;
        assert!(said.as_str().is_some_and(|s| s.contains("The verdict above stands")), "{said}");
        let verdict = ask(&client, "document.getElementById('verdict').dataset.word").await;
        assert_eq!(verdict, "violated");
    });
}

#[test]
fn wheel_and_keys_zoom_the_timeline_and_the_charts_with_it() {
    browse(async |client| {
        open(&client, &written("zoom", &violated())).await;
        focus_timeline(&client).await;
        let whole = shown(&client).await;
        assert_eq!(whole, (0.0, 41e6), "the whole run at first");

        press(&client, &['+']).await;
        let near = moved(&client, whole).await;
        press(&client, &['+']).await;
        let nearer = moved(&client, near).await;
        assert!(nearer.1 - nearer.0 < 0.7 * 41e6, "{nearer:?}");
        press(&client, &[Key::Right.into()]).await;
        let later = moved(&client, nearer).await;
        assert!(later.0 > nearer.0 && (later.1 - later.0 - (nearer.1 - nearer.0)).abs() < 5.0);
        press(&client, &['-']).await;
        let farther = moved(&client, later).await;
        assert!(farther.1 - farther.0 > later.1 - later.0, "{farther:?}");
        press(&client, &[Key::Home.into()]).await;
        assert_eq!(moved(&client, farther).await, whole);

        // Over the middle of the plot, which has to stay in its place.
        let canvas = "document.getElementById('timeline-canvas')";
        client.execute(&format!("{canvas}.scrollIntoView()"), vec![]).await.expect("in sight");
        let place = "(b => [b.left + 112 + (b.width - 130) / 2, b.top + 60].map(Math.round))\
                     (document.getElementById('timeline-canvas').getBoundingClientRect())";
        let place = ask(&client, place).await;
        let (x, y) = (place[0].as_i64().expect("pixels"), place[1].as_i64().expect("pixels"));
        let turn = WheelAction::Scroll { duration: None, x, y, delta_x: 0, delta_y: -240 };
        let wheel = WheelActions::new("wheel".to_owned()).then(turn);
        client.perform_actions(wheel).await.expect("the wheel turns");
        let wheeled = moved(&client, whole).await;
        let middle = f64::midpoint(wheeled.0, wheeled.1);
        assert!(wheeled.1 - wheeled.0 < 0.7 * 41e6, "{wheeled:?}");
        assert!((middle - 20.5e6).abs() < 0.1e6, "what is under the pointer stays: {middle}");
        silent(&client).await;
    });
}

#[test]
fn arrows_come_when_there_is_room_and_until_then_the_page_says_how_to_see_them() {
    browse(async |client| {
        open(&client, &written("arrows", &violated())).await;
        let status = "document.querySelector('#timeline .status').innerText";
        let said = ask(&client, status).await;
        assert!(said.as_str().is_some_and(|s| s.contains("zoom in to see each")), "{said}");
        assert_eq!(ask(&client, &format!("{TIMELINE}.arrows")).await, "0");
        focus_timeline(&client).await;
        press(&client, &['+'; 12]).await;
        until(&client, &format!("{TIMELINE}.arrows > 0")).await;
        let said = ask(&client, status).await;
        assert!(said.as_str().is_some_and(|s| s.contains("each an arrow")), "{said}");
    });
}

/// What stands beside the pointer wherever it is on the timeline: the first `most` texts with a
/// word.
async fn tips(client: &Client, word: &str, most: usize) -> Vec<String> {
    let look = "((word, most) => { \
        const canvas = document.getElementById('timeline-canvas'); \
        const tip = document.querySelector('.tip'); \
        const box = canvas.getBoundingClientRect(); \
        const found = new Set(); \
        for (let y = 4; y < box.height; y += 8) \
          for (let x = 112; x < box.width && found.size < most; x += 6) { \
            const at = { clientX: box.left + x, clientY: box.top + y }; \
            canvas.dispatchEvent(new PointerEvent('pointermove', at)); \
            const text = [...tip.children].map(line => line.textContent).join('; '); \
            if (!tip.hidden && text.includes(word)) found.add(text); \
          } \
        return [...found] })";
    let found = ask(client, &format!("{look}({}, {most})", json!(word))).await;
    let texts = found.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn without_a_trace_no_message_is_said_to_have_passed() {
    browse(async |client| {
        open(&client, &written("untraced", &untraced())).await;
        let legend = ask(&client, "document.querySelector('.legend').textContent").await;
        let legend = legend.as_str().expect("a text");
        assert!(legend.contains("message, not known what became of it"), "{legend}");
        assert!(!legend.contains("dropped"), "{legend}");
        let of_it = "not known what became of it (run with --trace)";
        let of_them = "not known what became of them (run with --trace)";
        let lane = tips(&client, "messages in view", 1).await;
        assert!(!lane.is_empty(), "the lane of all messages says how many they are");
        assert!(lane.iter().all(|tip| tip.contains(of_them)), "{lane:#?}");
        assert!(!lane.iter().any(|tip| tip.contains("dropped or reset")), "{lane:#?}");

        focus_timeline(&client).await;
        press(&client, &['+'; 12]).await;
        until(&client, &format!("{TIMELINE}.arrows > 0")).await;
        let status = "document.querySelector('#timeline .status').innerText";
        let said = ask(&client, status).await;
        assert!(said.as_str().is_some_and(|s| s.contains(of_them)), "{said}");
        let messages = tips(&client, "append entries", 3).await;
        assert!(!messages.is_empty(), "a message says what it is");
        assert!(messages.iter().all(|tip| tip.contains(of_it)), "{messages:#?}");
        silent(&client).await;
    });
}

#[test]
fn a_violating_call_is_reached_by_keys_and_nothing_holds_them_captive() {
    browse(async |client| {
        open(&client, &written("keys", &violated())).await;
        focus_timeline(&client).await;
        press(&client, &['v', 'z']).await;
        until(&client, "!document.querySelector('.tip').hidden").await;
        let live =
            ask(&client, "document.querySelector('.timeline [aria-live]').textContent").await;
        let live = live.as_str().expect("a text").to_owned();
        assert!(live.contains("part of a violation") && live.contains("client 4"), "{live}");
        let (from, to) = shown(&client).await;
        assert!(from < 24.96e6 && to > 24.9e6 && to - from < 1e6, "it is in view: {from} {to}");
        press(&client, &[Key::Enter.into()]).await;
        until(&client, "!document.getElementById('details').hidden").await;
        let details = ask(&client, "document.getElementById('details').innerText").await;
        assert!(details.as_str().is_some_and(|d| d.contains("part of a violation")), "{details}");
        press(&client, &[Key::Tab.into()]).await;
        assert_ne!(ask(&client, "document.activeElement.id").await, "timeline-canvas");
        // Every control has a name, and none is taken out of the order.
        let nameless = "[...document.querySelectorAll('button, a, summary')]\
                        .filter(e => !(e.textContent.trim() || e.ariaLabel) || e.tabIndex < 0)\
                        .map(e => e.outerHTML)";
        assert_eq!(ask(&client, nameless).await, json!([]));
        silent(&client).await;
    });
}

#[test]
fn an_event_of_the_list_is_shown_with_what_its_node_logged() {
    browse(async |client| {
        open(&client, &written("events", &holding())).await;
        let whole = shown(&client).await;
        let died = "[...document.querySelectorAll('#events tr')]\
                    .find(row => row.innerText.includes('n3 was killed')).querySelector('button')";
        client.execute(&format!("{died}.click()"), vec![]).await.expect("it is pressed");
        let (from, to) = moved(&client, whole).await;
        assert!(from < 17e6 && to > 17e6 && to - from <= 0.2e6, "{from} {to}");
        let details = ask(&client, "document.getElementById('details').innerText").await;
        let details = details.as_str().expect("a text");
        assert!(details.contains("n3 was killed"), "{details}");
        assert!(details.contains("INFO raft"), "the node's log is beside it: {details}");
        let body = ask(&client, "document.body.innerText").await;
        let slips = ["null", "undefined", "NaN", "[object"];
        let slip =
            slips.iter().find(|slip| body.as_str().is_some_and(|body| body.contains(**slip)));
        assert_eq!(slip, None, "a value that is none is shown as if it were one");
    });
}

/// The colour of the timeline's ground, and of the page's.
async fn grounds(client: &Client) -> (Value, Value) {
    let canvas = "[...document.getElementById('timeline-canvas').getContext('2d')\
                  .getImageData(1, 1, 1, 1).data].slice(0, 3).join()";
    let body = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).join()";
    (ask(client, canvas).await, ask(client, body).await)
}

async fn prefer(client: &Client, scheme: &str, media: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    let asked = json!({ "media": media, "features": features });
    devtools(client, "Emulation.setEmulatedMedia", asked).await;
}

#[test]
fn light_and_dark_follow_the_system_and_the_toggle_and_canvases_follow_both() {
    browse(async |client| {
        prefer(&client, "light", "").await;
        open(&client, &written("theme", &violated())).await;
        assert_eq!(grounds(&client).await, (json!("255,255,255"), json!("255,255,255")));
        let drawn = number(&client, &format!("{TIMELINE}.drawn")).await;
        prefer(&client, "dark", "").await;
        until(&client, &format!("{TIMELINE}.drawn > {drawn}")).await;
        let dark = grounds(&client).await;
        assert_eq!(dark.0, dark.1);
        assert_eq!(dark.0, "20,23,26");
        let toggle = "document.querySelector('button.theme')";
        client.execute(&format!("{toggle}.click()"), vec![]).await.expect("it is pressed");
        until(&client, "getComputedStyle(document.body).backgroundColor == 'rgb(255, 255, 255)'")
            .await;
        assert_eq!(ask(&client, &format!("{toggle}.innerText")).await, "Theme: light");
    });
}

#[test]
fn texts_have_enough_contrast_in_both_themes() {
    browse(async |client| {
        for scheme in ["light", "dark"] {
            prefer(&client, scheme, "").await;
            open(&client, &written("contrast", &violated())).await;
            // WCAG 2: relative luminance, on the ground that each of these stands on.
            let ratio = "((...names) => { \
                const probe = document.body.appendChild(document.createElement('i')); \
                const lum = name => { probe.style.color = `var(--${name})`; \
                  const [r, g, b] = getComputedStyle(probe).color.match(/\\d+/g) \
                    .map(v => v / 255) \
                    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); \
                  return 0.2126 * r + 0.7152 * g + 0.0722 * b }; \
                const [a, b] = names.map(lum).sort((x, y) => y - x); \
                probe.remove(); \
                return (a + 0.05) / (b + 0.05) })";
            let texts = [
                "ink",
                "soft",
                "holds",
                "violated",
                "undecided",
                "fault",
                "unknown",
                "vote",
                "delayed",
            ];
            for (text, ground) in texts
                .iter()
                .flat_map(|text| [(*text, "paper"), (*text, "panel")])
                .chain([("on-leader", "leader"), ("soft", "follower"), ("ink", "follower")])
            {
                let ratio = number(&client, &format!("{ratio}('{text}', '{ground}')")).await;
                let least = if text == "delayed" { 3.0 } else { 4.5 };
                assert!(ratio >= least, "{scheme}: {text} on {ground} has {ratio:.2}");
            }
        }
    });
}

#[test]
fn paper_is_light_has_the_verdict_and_what_fits_it() {
    browse(async |client| {
        prefer(&client, "dark", "").await;
        open(&client, &written("print", &violated())).await;
        let listen = "addEventListener('beforeprint', () => { \
            const canvas = document.getElementById('timeline-canvas'); \
            const ground = canvas.getContext('2d').getImageData(1, 1, 1, 1).data; \
            window.paper = { drawn: canvas.width / devicePixelRatio, \
              theme: document.documentElement.dataset.theme, \
              ground: [...ground].slice(0, 3) } })";
        client.execute(listen, vec![]).await.expect("it listens");
        let pdf = client.print(PrintConfiguration::default()).await.expect("it prints");
        assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 20_000, "{} bytes", pdf.len());
        fs::write(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("print.pdf"), &pdf)
            .expect("a file beside the tests' programs");
        let paper = ask(&client, "paper").await;
        assert_eq!((&paper["theme"], &paper["ground"]), (&json!("light"), &json!([255, 255, 255])));
        let width = paper["drawn"].as_f64().expect("pixels");
        assert!(width > 400.0 && width < 720.0, "as wide as paper: {paper}");

        // What paper shows: the verdict, and no control.
        prefer(&client, "dark", "print").await;
        let seen = "(s => getComputedStyle(document.querySelector(s)).display != 'none')";
        for (what, there) in
            [("#verdict", true), ("#timeline-canvas", true), (".tools", false), ("nav", false)]
        {
            assert_eq!(ask(&client, &format!("{seen}('{what}')")).await, there, "{what}");
        }
        assert_eq!(
            ask(&client, "document.documentElement.dataset.printing ?? null").await,
            Value::Null
        );
    });
}

#[test]
fn a_narrow_screen_scrolls_in_one_direction() {
    browse(async |client| {
        let size = json!({ "width": 400, "height": 800, "deviceScaleFactor": 2, "mobile": true });
        devtools(&client, "Emulation.setDeviceMetricsOverride", size).await;
        for (name, story) in [("violated", violated()), ("hostile", hostile())] {
            open(&client, &written(&format!("narrow-{name}"), &story)).await;
            assert_eq!(ask(&client, "innerWidth").await, 400, "{name}");
            let wide = ask(&client, "document.documentElement.scrollWidth").await;
            assert_eq!(wide, 400, "{name}");
        }
    });
}

#[test]
fn hostile_names_are_text_and_do_nothing() {
    browse(async |client| {
        let story = hostile();
        let path = written("hostile", &story);
        open(&client, &path).await;
        assert_eq!(ask(&client, "document.documentElement.dataset.ready").await, "yes");
        // Everything is opened and pressed, so that whatever could act would.
        client
            .execute(
                "document.querySelectorAll('details').forEach(d => d.open = true); \
                      document.querySelectorAll('button.time').forEach(b => b.click())",
                vec![],
            )
            .await
            .expect("all of it is pressed");
        let focus = "document.getElementById('timeline-canvas').focus()";
        client.execute(focus, vec![]).await.expect("it takes the focus");
        press(&client, &['n', Key::Enter.into(), 'n', Key::Enter.into(), 'v', Key::Enter.into()])
            .await;
        let title = ask(&client, "document.title").await;
        assert!(title.as_str().is_some_and(|t| t.starts_with("</script><script>")), "{title}");
        assert_eq!(ask(&client, "document.images.length").await, 0);
        assert_eq!(
            ask(&client, "document.scripts.length").await,
            2,
            "the story and the page's own"
        );
        assert_eq!(ask(&client, "document.querySelectorAll('style').length").await, 1);
        let links = "[...document.links].filter(a => !['file:'].includes(a.protocol)).length";
        assert_eq!(ask(&client, links).await, 0, "a name is no scheme");
        let text = ask(&client, "document.body.innerText").await;
        let text = text.as_str().expect("a text");
        assert!(text.contains("a⟨U+202E⟩gnp.exe⟨U+2066⟩") && text.contains("<img src=x onerror="));
        assert!(
            !text.contains('\u{202e}') && !text.contains('\u{1b}'),
            "nothing turns text around"
        );
        silent(&client).await;
        let raw = fs::read_to_string(&path).expect("the page");
        assert_eq!(raw.matches("</script>").count(), 2, "no name ends a script");
        assert_eq!(raw.matches("<img").count(), 0);
    });
}

#[test]
fn a_hundred_thousand_calls_and_a_million_messages_are_thinned_to_pixels() {
    browse(async |client| {
        let story = big();
        assert!(story.calls.begin.len() >= 100_000 && story.messages.at.len() >= 1_000_000);
        open(&client, &written("big", &story)).await;
        let told = async |what: &str| {
            let redraw = number(&client, &format!("{TIMELINE}.took")).await;
            let charts = number(&client, "document.querySelector('.charts').dataset.took").await;
            println!("{what}: timeline {redraw} ms, charts {charts} ms");
        };
        told("the whole run").await;
        // Of 1,150 pixels in 48 clients' lanes and a few others, however many calls there are.
        let bound = 1_150.0 * 60.0;
        assert!(number(&client, &format!("{TIMELINE}.primitives")).await < bound);
        let points = "document.querySelector('.uplot').dataset.points";
        let drawn = number(&client, points).await;
        assert!(drawn > 1_000.0 && drawn < 60_000.0, "the scatter is thinned: {drawn} points");
        focus_timeline(&client).await;
        let mut before = shown(&client).await;
        for turn in 0..14 {
            press(&client, &['+']).await;
            before = moved(&client, before).await;
            assert!(number(&client, &format!("{TIMELINE}.primitives")).await < bound);
            if turn % 4 == 3 {
                told(&format!("{:.0} ms", (before.1 - before.0) / 1e3)).await;
            }
        }
        press(&client, &['+'; 7]).await;
        until(&client, &format!("{TIMELINE}.arrows > 0")).await;
        told("with arrows").await;
        silent(&client).await;
    });
}
