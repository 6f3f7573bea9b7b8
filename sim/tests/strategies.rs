//! What the strategies promise, held against small programs on the engine itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use simvisor::runtime::{PreemptPoint, Shared, yield_now};
use simvisor_sim::choice::Source;
use simvisor_sim::rng::{Numbers, Stream};
use simvisor_sim::schedule::{MIX, Strategy, StrategyKind};
use simvisor_sim::search::{profiled, seeded};
use simvisor_sim::world::{Engine, Finished, Handle, LaneKind, Limits};

/// Who made a step, in order.
type Steps = Rc<RefCell<Vec<usize>>>;

/// A world in which lane `i` makes `steps[i]` steps; gives the order in which they were made.
fn order(engine: &mut Engine, source: Source, steps: &[usize]) -> (Vec<usize>, Finished) {
    let made = Steps::default();
    let world = engine.world(source);
    for (lane, &steps) in steps.iter().enumerate() {
        let made = Rc::clone(&made);
        world.handle().spawn(LaneKind::Operation, &Arc::from(format!("{lane}")), async move {
            for step in 0..steps {
                if step > 0 {
                    yield_now().await;
                }
                made.borrow_mut().push(lane);
            }
        });
    }
    let finished = world.run(&Limits::default(), |_| ());
    (made.take(), finished)
}

fn drawn(engine: &mut Engine, kind: StrategyKind, seed: u64, steps: &[usize]) -> Vec<usize> {
    let source = profiled(seeded(seed, kind), |count| order(engine, count, steps).1.profile());
    order(engine, source, steps).0
}

#[test]
fn a_uniform_walk_has_every_interleaving_equally_often() {
    let mut engine = Engine::new();
    let mut seen: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    for seed in 0..20_000 {
        *seen.entry(drawn(&mut engine, StrategyKind::Urw, seed, &[3, 3])).or_default() += 1;
    }
    assert_eq!(seen.len(), 20, "all interleavings of 3 and 3 steps");
    assert!(seen.values().all(|count| (850..1_150).contains(count)), "{seen:?}");
}

#[test]
fn one_step_after_twenty_five_is_found_by_a_uniform_walk_and_not_by_a_random_one() {
    let mut engine = Engine::new();
    let mut last = |kind, seeds| {
        (0..seeds).filter(|&seed| drawn(&mut engine, kind, seed, &[1, 25]).last() == Some(&0)).count()
    };
    let found = last(StrategyKind::Urw, 2_600);
    assert!((60..150).contains(&found), "one in 26 of 2600, and not {found}");
    let orderly_or_lucky = last(StrategyKind::Random, 10_000);
    assert_eq!(orderly_or_lucky, 0);
}

/// As [`order`], with preemption points in place of yields.
fn order_at_points(engine: &mut Engine, source: Source, steps: &[usize]) -> (Vec<usize>, Finished) {
    let made = Steps::default();
    let world = engine.world(source);
    for (lane, &steps) in steps.iter().enumerate() {
        let (made, handle) = (Rc::clone(&made), world.handle());
        world.handle().spawn(LaneKind::Operation, &Arc::from(format!("{lane}")), async move {
            for number in 0..steps {
                if number > 0 {
                    step(&handle).await;
                }
                made.borrow_mut().push(lane);
            }
        });
    }
    let finished = world.run(&Limits::default(), |_| ());
    (made.take(), finished)
}

#[test]
fn a_uniform_walk_is_uniform_where_steps_end_at_preemption_points() {
    let mut engine = Engine::new();
    let mut seen: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    for seed in 0..20_000 {
        let source = profiled(seeded(seed, StrategyKind::Urw), |count| {
            order_at_points(&mut engine, count, &[2, 4]).1.profile()
        });
        *seen.entry(order_at_points(&mut engine, source, &[2, 4]).0).or_default() += 1;
    }
    assert_eq!(seen.len(), 15, "all interleavings of 2 and 4 steps");
    assert!(seen.values().all(|count| (1_200..1_470).contains(count)), "{seen:?}");
}

#[test]
fn a_selective_walk_finds_the_one_that_differs_among_many() {
    // 60 lanes set two values one after the other and one looks: it must come after a first and before all seconds.
    let looks_between = |engine: &mut Engine, source: Source| {
        let world = engine.world(source);
        let values = Rc::new(RefCell::new((0, 0)));
        let bad = Rc::new(RefCell::new(false));
        world.handle().reserve_lane(LaneKind::Actor, &Arc::from("x"));
        world.handle().reserve_lane(LaneKind::Actor, &Arc::from("y"));
        for number in 0..=60 {
            let (handle, values, bad) = (world.handle(), Rc::clone(&values), Rc::clone(&bad));
            world.handle().spawn(LaneKind::Operation, &Arc::from(format!("{number}")), async move {
                step(&handle).await;
                handle.rt().touches(Shared::Task("x"));
                match number {
                    60 => *bad.borrow_mut() = *values.borrow() == (1, 0),
                    _ => values.borrow_mut().0 = 1,
                }
                step(&handle).await;
                if number < 60 {
                    handle.rt().touches(Shared::Task("y"));
                    values.borrow_mut().1 = 1;
                }
            });
        }
        let finished = world.run(&Limits::default(), |_| ());
        (bad.take(), finished)
    };
    let mut engine = Engine::new();
    let mut found = |kind| {
        let seeds = 0..1_000;
        let hits = seeds.filter(|&seed| {
            let source = profiled(seeded(seed, kind), |count| looks_between(&mut engine, count).1.profile());
            looks_between(&mut engine, source).0
        });
        hits.count()
    };
    let (selective, random) = (found(StrategyKind::Surw), found(StrategyKind::Random));
    assert!(selective > 60 && selective > 3 * random / 2, "{selective} selectively, {random} at random");
}

/// A place where another lane could run.
async fn step(world: &Handle) {
    if world.rt().preempt(PreemptPoint::AfterBody) {
        yield_now().await;
    }
}

/// Two lanes of `steps` steps each. The first writes twice somewhere within and the second reads once; says whether
/// the read came between the writes, a bug of depth 2.
fn reads_between(engine: &mut Engine, source: Source, steps: usize) -> (bool, Finished) {
    let value = Rc::new(RefCell::new(0));
    let bad = Rc::new(RefCell::new(false));
    let world = engine.world(source);
    let handle = world.handle();
    handle.reserve_lane(LaneKind::Actor, &Arc::from("x"));
    for reads in [false, true] {
        let (world, value, bad) = (world.handle(), Rc::clone(&value), Rc::clone(&bad));
        handle.spawn(LaneKind::Operation, &Arc::from(format!("{reads}")), async move {
            for number in 0..steps {
                step(&world).await;
                if number == steps / 2 || (number == steps / 2 + 1 && !reads) {
                    world.rt().touches(Shared::Task("x"));
                    match reads {
                        true => *bad.borrow_mut() = *value.borrow() == 1,
                        false => *value.borrow_mut() += 1,
                    }
                }
            }
        });
    }
    let finished = world.run(&Limits::default(), |_| ());
    (bad.take(), finished)
}

#[test]
fn priorities_that_fall_keep_their_promise() {
    const STEPS: usize = 10;
    let mut engine = Engine::new();
    let mut found = [0; 2];
    for seed in 0..4_000 {
        for (depth, found) in [1, 2].into_iter().zip(&mut found) {
            let mut numbers = Numbers::new(seed, Stream::Schedule);
            let pct = Strategy::pct(depth, &mut numbers);
            let source = profiled(Source::Drawn(pct, numbers), |count| {
                reads_between(&mut engine, count, STEPS).1.profile()
            });
            *found += u32::from(reads_between(&mut engine, source, STEPS).0);
        }
    }
    // 2 lanes and at most 2 * 10 + 1 steps: at least one run in 42 for depth 2.
    assert_eq!(found[0], 0, "a bug of depth 2 is none of depth 1");
    assert!(found[1] >= 4_000 / 42, "{found:?}");
}

#[test]
fn every_strategy_that_interrupts_finds_a_read_between_two_writes() {
    let mut engine = Engine::new();
    for kind in [
        StrategyKind::Random,
        StrategyKind::Pct,
        StrategyKind::Pos,
        StrategyKind::Urw,
        StrategyKind::Surw,
        StrategyKind::Mutate,
        StrategyKind::Mix,
    ] {
        let found = (0..2_000)
            .filter(|&seed| {
                let source =
                    profiled(seeded(seed, kind), |count| reads_between(&mut engine, count, 5).1.profile());
                reads_between(&mut engine, source, 5).0
            })
            .count();
        assert!(found > 20, "{kind:?}: {found} of 2000");
    }
    assert!(!reads_between(&mut engine, seeded(0, StrategyKind::Fifo), 5).0);
}

#[test]
fn partial_order_sampling_draws_anew_where_steps_race_and_nowhere_else() {
    // A lane of 2 steps against one of 12. Where their steps do not race, a second step of low priority stays behind
    // all others once in about 13 times; where they do, it would have to be drawn low 12 times in a row.
    let runs = |shared: bool| {
        let mut engine = Engine::new();
        let mut late = 0;
        for seed in 0..4_000 {
            let made = Steps::default();
            let world = engine.world(seeded(seed, StrategyKind::Pos));
            world.handle().reserve_lane(LaneKind::Actor, &Arc::from("x"));
            for (lane, steps) in [(0, 2), (1, 12)] {
                let (made, world, here) = (Rc::clone(&made), world.handle(), world.handle());
                here.spawn(LaneKind::Operation, &Arc::from(format!("{lane}")), async move {
                    for _ in 0..steps {
                        if shared {
                            world.rt().touches(Shared::Task("x"));
                        }
                        made.borrow_mut().push(lane);
                        yield_now().await;
                    }
                });
            }
            let _ = world.run(&Limits::default(), |_| ());
            late += u32::from(made.borrow().first() == Some(&0) && made.borrow().last() == Some(&0));
        }
        late
    };
    let (racing, apart) = (runs(true), runs(false));
    assert!(apart > 80 && racing < 8, "last in {racing} runs where steps race, in {apart} where they do not");
}

#[test]
fn the_mix_has_its_shares() {
    assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), 100);
    let mut seen = [0_u32; MIX.len()];
    for seed in 0..10_000 {
        let Source::Drawn(strategy, _) = seeded(seed, StrategyKind::Mix) else { panic!("seeds are drawn") };
        let kind = strategy.kind().expect("none counts");
        let place = MIX.iter().position(|&(part, _)| part == kind).expect("it is part of the mix");
        seen[place] += 1;
    }
    for (seen, (kind, share)) in seen.into_iter().zip(MIX) {
        assert!(seen.abs_diff(100 * share) < 150, "{kind:?}: {seen} of 10000 and not {share} in 100");
    }
}

#[test]
fn what_showed_something_new_is_followed_and_changed() {
    // Six lanes of 5 steps that all touch one thing. A run that follows another begins as it does.
    let order = |engine: &mut Engine, source: Source| {
        let made = Steps::default();
        let world = engine.world(source);
        world.handle().reserve_lane(LaneKind::Actor, &Arc::from("x"));
        for lane in 0..6 {
            let (made, handle) = (Rc::clone(&made), world.handle());
            world.handle().spawn(LaneKind::Operation, &Arc::from(format!("{lane}")), async move {
                for _ in 0..5 {
                    step(&handle).await;
                    handle.rt().touches(Shared::Task("x"));
                    made.borrow_mut().push(lane);
                }
            });
        }
        let finished = world.run(&Limits::default(), |_| ());
        (made.take(), finished)
    };
    let mut engine = Engine::new();
    // Steps that a run has in common with the one before that it is most like: with what was kept, and without.
    let mut common = [0, 0];
    for seed in 0..50 {
        for (keeps, common) in [true, false].into_iter().zip(&mut common) {
            let mut numbers = Numbers::new(seed, Stream::Schedule);
            let mut strategy = Strategy::new(StrategyKind::Mutate, &mut numbers);
            let mut orders: Vec<Vec<usize>> = Vec::new();
            for _ in 0..strategy.runs() {
                let (new, finished) = order(&mut engine, Source::Drawn(strategy, numbers));
                let alike =
                    |old: &Vec<usize>| old.iter().zip(&new).take_while(|(old, new)| old == new).count();
                *common += orders.iter().map(alike).max().unwrap_or(0);
                orders.push(new);
                (strategy, numbers) = finished.drawn.expect("choices were drawn");
                match keeps {
                    true => strategy.go_on(&mut numbers),
                    false => strategy.prepare(StrategyKind::Mutate, &mut numbers),
                }
            }
            // A run may be followed without any change, but they are not all the same.
            orders.sort_unstable();
            orders.dedup();
            assert!(orders.len() > 24, "{} orders", orders.len());
        }
    }
    assert!(common[0] > 2 * common[1], "{common:?}, with what was kept and without");
}

#[test]
fn a_campaign_is_the_same_whatever_was_run_before() {
    let orders = |strategy: Box<Strategy>, mut numbers: Numbers| {
        let (mut engine, mut orders, mut strategy) = (Engine::new(), Vec::new(), strategy);
        for _ in 0..strategy.runs() {
            let (order, finished) = order(&mut engine, Source::Drawn(strategy, numbers), &[3, 4, 2]);
            orders.push(order);
            (strategy, numbers) = finished.drawn.expect("choices were drawn");
            strategy.go_on(&mut numbers);
        }
        (orders, strategy)
    };
    let begun = |mut strategy: Box<Strategy>, seed| {
        let mut numbers = Numbers::new(seed, Stream::Schedule);
        strategy.prepare(StrategyKind::Mutate, &mut numbers);
        orders(strategy, numbers)
    };
    let (first, new) = begun(Box::default(), 1);
    let (other, used) = begun(new, 2);
    assert_ne!(first, other);
    assert_eq!(first, begun(used, 1).0);
}
