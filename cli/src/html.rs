//! Reports as one HTML file: text and inline SVG, no script, nothing to fetch, so that any browser opens it anywhere.

/// A page with a title; `body` is HTML.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n<style>body{{font-family:system-ui,\
         sans-serif;max-width:60rem;margin:2rem auto;color:#1f2937}}pre{{overflow-x:auto;background:#f3f4f6;padding:1rem}}svg{{max-width:100%;height:auto}}</style>\
         </head>\n<body><h1>{0}</h1>\n{body}</body></html>\n",
        escape(title)
    )
}

/// Text as it stands in HTML and in SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
