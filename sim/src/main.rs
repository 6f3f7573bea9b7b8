//! x
fn main() {
    let n = std::env::args().nth(1).map_or(2000, |n| n.parse().unwrap());
    let r = simvisor_sim::search::sweep(
        &simvisor_sim::search::SweepOptions {
            seeds: n,
            failures_max: 2000,
            limits: simvisor_sim::world::Limits { turns_max: 20_000, ..Default::default() },
            ..Default::default()
        },
        |_| (),
    )
    .unwrap();
    println!("{:?} {:?} {:?}", r.verdicts, r.elapsed, r.events);
    for (i, r0) in simvisor_sim::oracle::RULES.iter().enumerate() {
        print!("{}={}/{} ", r0.id, r.witnesses[i], r.broken[i]);
    }
    println!();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for f in r.failures.iter() {
        let c = seen.entry(f.rule.clone()).or_default();
        *c += 1;
        if *c <= 3 {
            println!("{:#x} {} {} {:?}", f.seed, f.rule, f.message, f.at_ns);
        }
    }
}
