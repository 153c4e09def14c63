//! How it went, as charts: each a picture with a title, axes and units, words for who does not see it, and its numbers.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::RGBColor;

use crate::report::model::Project;
use crate::report::words::{count, day, days, in_days};

/// One chart.
pub struct Chart {
    /// Its title.
    pub title: &'static str,
    /// The picture.
    pub svg: String,
    /// What its colours mean: a class, and a name.
    pub legend: Vec<(&'static str, &'static str)>,
    /// The heading of its numbers.
    pub columns: Vec<&'static str>,
    /// Its numbers.
    pub rows: Vec<Vec<String>>,
}

/// How the values of a chart are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One line a series.
    Lines,
    /// Bars, one series upon the other.
    Bars,
}

struct Series {
    class: &'static str,
    name: &'static str,
    ink: RGBColor,
    values: Vec<f64>,
}

struct Plan<'a> {
    title: &'static str,
    /// What the picture says, for who does not see it.
    says: String,
    kind: Kind,
    across: &'static str,
    up: &'static str,
    labels: Vec<String>,
    series: Vec<Series>,
    id: &'a str,
}

const SIZE: (u32, u32) = (480, 250);
// The page's style gives these colours others in the dark; here they are as in the light.
const FIRST: RGBColor = RGBColor(9, 105, 218);
const SECOND: RGBColor = RGBColor(188, 76, 0);
const TEXT: RGBColor = RGBColor(31, 35, 40);
const GRID: RGBColor = RGBColor(216, 222, 228);
const AXIS: RGBColor = RGBColor(89, 99, 110);

/// The charts of the `n`th project of a page; none that would have nothing to show.
pub fn charts(project: &Project, made: &str, n: usize) -> Vec<Chart> {
    let builds = &project.trends.builds;
    let mut plans = Vec::new();
    let series = |class, name, ink, values: Vec<usize>| Series {
        class,
        name,
        ink,
        values: values.into_iter().map(|v| v as f64).collect(),
    };
    let dates = || builds.iter().map(|b| day(&b.date).to_owned()).collect::<Vec<_>>();
    let of = |value: fn(&crate::report::model::Point) -> usize| builds.iter().map(value).collect::<Vec<_>>();
    // One build is no trend.
    if let [first, .., last] = &builds[..] {
        let span = format!(
            "{} from {} to {}",
            count(builds.len(), "build", "builds"),
            day(&first.date),
            day(&last.date)
        );
        plans.push(Plan {
            title: "The queue",
            says: format!(
                "{span}: patches in the queue {} then, {} now; in the build {} then, {} now",
                first.queue, last.queue, first.carried, last.carried
            ),
            kind: Kind::Lines,
            across: "trunk of each build",
            up: "patches",
            labels: dates(),
            series: vec![
                series("s1", "in the queue", FIRST, of(|b| b.queue)),
                series("s2", "in the build", SECOND, of(|b| b.carried)),
            ],
            id: "queue",
        });
        plans.push(Plan {
            title: "Lines carried",
            says: format!(
                "{span}: lines added to trunk {} then, {} now; taken away {} then, {} now",
                first.lines[0], last.lines[0], first.lines[1], last.lines[1]
            ),
            kind: Kind::Lines,
            across: "trunk of each build",
            up: "lines",
            labels: dates(),
            series: vec![
                series("s1", "added", FIRST, of(|b| b.lines[0])),
                series("s2", "taken away", SECOND, of(|b| b.lines[1])),
            ],
            id: "lines",
        });
        let worst = builds.iter().map(|b| b.roots).max().unwrap_or_default();
        plans.push(Plan {
            title: "Conflicts a build",
            says: format!("{span}: {} conflict with trunk now, at most {worst}", last.roots),
            kind: Kind::Bars,
            across: "trunk of each build",
            up: "patches left out",
            labels: dates(),
            series: vec![
                series("s1", "conflict themselves", FIRST, of(|b| b.roots)),
                series("s2", "miss another, or break a check", SECOND, of(|b| b.blocked)),
            ],
            id: "roots",
        });
    }
    let mended = &project.trends.mended;
    if !mended.is_empty() {
        let median = project.trends.median_days.map(in_days).unwrap_or_default();
        plans.push(Plan {
            title: "From conflict to mended",
            says: format!(
                "{} ended, half of them within {median}",
                count(mended.len(), "conflict", "conflicts")
            ),
            kind: Kind::Bars,
            across: "end of each conflict, by trunk's date",
            up: "days",
            labels: mended.iter().rev().map(|m| day(&m.until).to_owned()).collect(),
            series: vec![Series {
                class: "s1",
                name: "days that the patch was out",
                ink: FIRST,
                values: mended.iter().rev().map(|m| (m.days * 10.0).round() / 10.0).collect(),
            }],
            id: "mended",
        });
    }
    let ages: Vec<f64> = project.patches.iter().filter_map(|p| days(&p.written, made)).collect();
    if !ages.is_empty() {
        const BOUNDS: [(f64, &str); 6] = [
            (30.0, "under 1 month"),
            (91.0, "1 to 3 months"),
            (182.0, "3 to 6 months"),
            (365.0, "6 to 12 months"),
            (730.0, "1 to 2 years"),
            (f64::INFINITY, "over 2 years"),
        ];
        let mut counts = [0_usize; BOUNDS.len()];
        for age in ages {
            let at = BOUNDS.iter().position(|(bound, _)| age < *bound).unwrap_or(BOUNDS.len() - 1);
            counts[at] += 1;
        }
        let told: Vec<String> =
            BOUNDS.iter().zip(counts).map(|((_, word), n)| format!("{word} {n}")).collect();
        plans.push(Plan {
            title: "Age of the patches",
            says: format!("patches by the time since they were written: {}", told.join(", ")),
            kind: Kind::Bars,
            across: "months since it was written",
            up: "patches",
            labels: ["0-1", "1-3", "3-6", "6-12", "12-24", "24+"].map(str::to_owned).to_vec(),
            series: vec![series("s1", "patches", FIRST, counts.to_vec())],
            id: "ages",
        });
    }
    plans.into_iter().filter_map(|plan| chart(plan, n)).collect()
}

fn chart(plan: Plan<'_>, n: usize) -> Option<Chart> {
    let mut body = String::new();
    {
        let root = SVGBackend::with_string(&mut body, SIZE).into_drawing_area();
        // A picture in memory has no reason to fail; if it does, the numbers would be missing their picture.
        draw(&root, &plan).ok()?;
        root.present().ok()?;
    }
    // The library's own opening tag gives way to one that says what is seen.
    let inner = body.split_once('>')?.1.trim_end().strip_suffix("</svg>")?;
    let id = format!("c{n}-{}", plan.id);
    let svg = format!(
        "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {} {}\">\
        <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{inner}</svg>",
        SIZE.0, SIZE.1, plan.title, plan.says
    );
    let columns = [plan.across].into_iter().chain(plan.series.iter().map(|s| s.name)).collect();
    let row = |(at, label): (usize, &String)| {
        let values = plan.series.iter().map(|s| s.values.get(at).copied().unwrap_or_default().to_string());
        [label.clone()].into_iter().chain(values).collect()
    };
    let rows = plan.labels.iter().enumerate().map(row).collect();
    let legend = plan.series.iter().map(|s| (s.class, s.name)).collect();
    Some(Chart { title: plan.title, svg, legend, columns, rows })
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, plan: &Plan<'_>) -> Drawn {
    let places = plan.labels.len();
    let sums = |at: usize| plan.series.iter().filter_map(|s| s.values.get(at)).sum::<f64>();
    let tops = |at: usize| plan.series.iter().filter_map(|s| s.values.get(at).copied()).fold(0.0, f64::max);
    let top = match plan.kind {
        Kind::Bars => (0..places).map(sums).fold(1.0, f64::max),
        Kind::Lines => (0..places).map(tops).fold(1.0, f64::max),
    };
    let (left, right) = match plan.kind {
        // A few bars are not to be as wide as a page.
        Kind::Bars => (-0.5, places.max(6) as f64 - 0.5),
        Kind::Lines => (-0.25, (places as f64 - 0.75).max(0.25)),
    };
    let small = |ink: &RGBColor| ("sans-serif", 13).into_font().color(ink);
    let mut chart = ChartBuilder::on(root)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(left..right, 0.0..top * 1.08)?;
    let label = |x: &f64| {
        let at = x.round();
        let known = (x - at).abs() < 0.01 && at >= 0.0;
        let text = plan.labels.get(at as usize).filter(|_| known).map(String::as_str).unwrap_or_default();
        // Of a day, month and day are enough on the axis.
        if text.len() == 10 { text[5..].to_owned() } else { text.to_owned() }
    };
    let number = |y: &f64| if y.fract() == 0.0 { format!("{y:.0}") } else { format!("{y:.1}") };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(AXIS)
        .x_labels(places.min(7))
        .y_labels(5)
        .x_label_formatter(&label)
        .y_label_formatter(&number)
        .x_label_style(small(&TEXT))
        .y_label_style(small(&TEXT))
        .axis_desc_style(small(&AXIS))
        .x_desc(plan.across)
        .y_desc(plan.up)
        .draw()?;
    match plan.kind {
        Kind::Lines => {
            for series in &plan.series {
                let points: Vec<(f64, f64)> =
                    series.values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
                if points.len() <= 40 {
                    chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, series.ink.filled())))?;
                }
                chart.draw_series(LineSeries::new(points, series.ink.stroke_width(2)))?;
            }
        }
        Kind::Bars => {
            let half = 0.38;
            let mut under = vec![0.0; places];
            for series in &plan.series {
                let mut bars = Vec::new();
                for (at, value) in series.values.iter().enumerate().filter(|(_, v)| **v > 0.0) {
                    let (x, low) = (at as f64, under[at]);
                    under[at] += value;
                    bars.push(Rectangle::new(
                        [(x - half, low), (x + half, low + value)],
                        series.ink.filled(),
                    ));
                }
                chart.draw_series(bars)?;
            }
        }
    }
    Ok(())
}
