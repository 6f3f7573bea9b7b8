//! The growth curve as a picture: nanoseconds for each sleep from ten tasks to a million.

use std::fmt::Write;

use crate::Curve;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 4] = ["#0b7285", "#868e96", "#d9480f", "#5f3dc4"];

/// Both axes are logarithmic.
pub(crate) fn svg(curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let tasks_max = points().map(|&(tasks, _)| tasks as f64).fold(100.0, f64::max);
    let ns_max = 10_f64.powf(points().map(|&(_, ns)| ns).fold(100.0, f64::max).log10().ceil());
    let x = |tasks: f64| LEFT + (WIDTH - LEFT - RIGHT) * (tasks.log10() - 1.0) / (tasks_max.log10() - 1.0);
    let y = |ns: f64| {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (ns.max(10.0).log10() - 1.0) / (ns_max.log10() - 1.0)
    };

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">Processor time for each sleep, by number of sleeping tasks</text>\n"
    );
    let mut ns = 10.0;
    while ns <= ns_max {
        let at = y(ns);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dee2e6\"/>",
            WIDTH - RIGHT
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ns} ns</text>",
            LEFT - 6.0,
            at + 4.0
        );
        ns *= 10.0;
    }
    let mut tasks = 10.0;
    while tasks <= tasks_max {
        let at = x(tasks);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#f1f3f5\"/>",
            HEIGHT - BOTTOM
        );
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tasks}</text>",
            HEIGHT - BOTTOM + 18.0
        );
        tasks *= 10.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">tasks</text>",
        x(tasks_max.sqrt() * 3.0),
        HEIGHT - 10.0
    );
    for ((system, points), colour) in curves.iter().zip(COLOURS) {
        let line: Vec<_> =
            points.iter().map(|&(tasks, ns)| format!("{:.1},{:.1}", x(tasks as f64), y(ns))).collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            line.join(" ")
        );
        for &(tasks, ns) in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(tasks as f64),
                y(ns)
            );
        }
        if let Some(&(tasks, ns)) = points.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{} {ns:.0}</text>",
                x(tasks as f64) + 8.0,
                y(ns) + 4.0,
                system.name()
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
