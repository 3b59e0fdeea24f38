//! The page on which a person rates: one HTML file, which needs nothing else where the films lie inside it.
//!
//! `page/page.html` is the template, whose engine escapes every value; `page.css` and `page.js` go in as they are. Films lie in it as text, of
//! which the script makes a file of the browser's own when a video is shown: not every browser seeks in a `data:` address.

use std::collections::BTreeMap;

use minijinja::{Value, context};
use serde_json::json;
use thiserror::Error;

use super::{Key, Shown, agreement::BEST};
use desumnet_report::template;

/// The page could not be made.
#[derive(Debug, Error)]
#[error("the page can't be made: {0}; please report this as a bug")]
pub struct PageError(minijinja::Error);

/// Where a film is.
pub enum Film {
    /// In the page: the bytes of its file.
    Inside(Vec<u8>),
    /// At this address, from the page on.
    Beside(String),
}

/// The page. `films` are the originals and the versions by the names that the key has for them; `seconds` is how long all of them play.
///
/// # Errors
/// [`PageError`]
pub fn html(key: &Key, films: &BTreeMap<String, Film>, seconds: f64) -> Result<String, PageError> {
    let (mut inside, mut files) = (Vec::new(), BTreeMap::new());
    for (name, film) in films {
        match film {
            Film::Inside(bytes) => {
                let base64 = Value::from_safe_string(glib::base64_encode(bytes).into());
                inside.push(context! { name => name, base64 => base64 });
            }
            Film::Beside(address) => drop(files.insert(name, address)),
        }
    }
    // What made a version stays out.
    let video = |Shown { video, original, versions }: &Shown| json!({ "video": video, "original": original, "versions": versions.keys().collect::<Vec<_>>() });
    let study = json!({
        "page": key.page, "files": files, "videos": key.videos.iter().map(video).collect::<Vec<_>>(),
    });
    let versions = key.videos.first().map_or(0, |shown| shown.versions.len());
    let values = context! {
        theme => Value::from_safe_string(template::THEME.into()),
        css => Value::from_safe_string(include_str!("page/page.css").into()),
        js => Value::from_safe_string(include_str!("page/page.js").into()),
        // A script ends at its end tag, wherever that stands.
        study => Value::from_safe_string(study.to_string().replace('<', "\\u003c")),
        films => inside,
        videos => key.videos.len(),
        versions => versions,
        ratings => versions * key.videos.len(),
        minutes => (seconds / 60.0).ceil().max(1.0) as u64,
        values => (1..=BEST).collect::<Vec<_>>(),
    };
    template::render("page.html", include_str!("page/page.html"), values).map_err(PageError)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_page_tells_no_methods_and_loads_nothing() {
        let methods = ["weighted", "cvs", "kvs"].map(String::from);
        let key = Key::draw(["</script><b>".into()], &methods, &mut StdRng::seed_from_u64(1));
        let shown = &key.videos[0];
        let mut films: BTreeMap<String, Film> =
            shown.versions.keys().map(|name| (name.clone(), Film::Inside(b"\x01film".to_vec()))).collect();
        films.insert(shown.original.clone(), Film::Beside(format!("videos/{}.mp4", shown.original)));
        let page = html(&key, &films, 61.0).unwrap();
        for method in methods {
            assert!(!page.contains(&method), "{method}");
        }
        assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (5, 5));
        assert_eq!(page.matches(">AWZpbG0=</script>").count(), 3);
        for text in [
            "\\u003c/script>\\u003cb>",
            "You will see 1 video, and of each 3 time-lapses:",
            "It takes about 2 minutes.",
            "max=\"3\"",
            "<input type=\"radio\" value=\"5\">",
        ] {
            assert!(page.contains(text), "{text}");
        }
        for word in ["http:", "https:", "url(", "@import", "fetch(", "import ", "src=\"", "<link rel=\"stylesheet"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
