//! Which manifests a commit folds into one, so that they stay few and no commit pays for all.
//!
//! Every append adds a manifest and carries the others forward. Folding everything once there are many
//! would make one commit in a hundred slower the longer the table lives; so manifests stand in
//! tiers by the power of [`FAN_IN`] that their file count reaches, and a commit folds one full tier at
//! most, the lowest. A data file's entry is rewritten once for each tier.
//!
//! A fold holds its entries in memory and takes time for each. So a manifest that names [`FULL`] files is left alone: a
//! table of n files has at most n ÷ `FULL` manifests, and those of three tiers.

/// How many manifests of one tier are folded into one of the next.
pub(super) const FAN_IN: u32 = 16;

/// A manifest of so many files is left alone. What a fold makes is smaller than two of these.
pub(super) const FULL: u32 = 1_024;

/// A manifest of this size is left alone, as Java leaves it (`commit.manifest.target-size-bytes`).
pub(super) const BYTES_MAX: i64 = 8 << 20;

/// What the plan needs to know of one manifest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Data files it names.
    pub(super) files: u32,
    /// Its length.
    pub(super) bytes: i64,
    /// Whether it holds data files of the current partition spec.
    pub(super) ours: bool,
}

/// What one commit folds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The places of the manifests that become one.
    pub(super) fold: Vec<usize>,
    /// Whether the new data files go into that one, too.
    pub(super) with_new: bool,
}

/// Plans a commit that adds `added` data files to `held`.
pub(super) fn plan(held: &[Candidate], added: u32) -> Plan {
    let foldable = |candidate: &Candidate| {
        candidate.ours && candidate.bytes < BYTES_MAX && candidate.files < FULL
    };
    let tier = |files: u32| files.max(1).ilog(FAN_IN);
    let new = (added > 0).then(|| tier(added));
    let full = (0..=FULL.ilog(FAN_IN)).find_map(|wanted| {
        let with_new = new == Some(wanted);
        let (mut fold, mut files) = (Vec::new(), if with_new { added } else { 0 });
        for (place, candidate) in held.iter().enumerate() {
            if files < FULL && foldable(candidate) && tier(candidate.files) == wanted {
                fold.push(place);
                files += candidate.files;
            }
        }
        let count = fold.len() + usize::from(with_new);
        let enough = count >= FAN_IN as usize || files >= FULL;
        (count > 1 && enough).then_some(Plan { fold, with_new })
    });
    full.unwrap_or_default()
}

/// Cuts `items` into runs that weigh up to `most`, or are one item that weighs more.
pub(super) fn portions<T>(items: &[T], most: u32, weight: impl Fn(&T) -> u32) -> Vec<&[T]> {
    let (mut portions, mut rest, mut taken, mut sum) = (Vec::new(), items, 0, 0_u32);
    for item in items {
        let more = weight(item);
        if taken > 0 && sum.saturating_add(more) > most {
            let (portion, others) = rest.split_at(taken);
            portions.push(portion);
            (rest, taken, sum) = (others, 0, 0);
        }
        (taken, sum) = (taken + 1, sum.saturating_add(more));
    }
    if !rest.is_empty() {
        portions.push(rest);
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: u32) -> Candidate {
        Candidate { files, bytes: 4_000, ours: true }
    }

    #[track_caller]
    fn check(name: &str, held: &[Candidate], added: u32, expected: &[usize]) {
        assert_eq!(plan(held, added).fold, expected, "{name}");
    }

    #[test]
    fn the_lowest_full_tier_is_folded() {
        let fifteen = vec![of(1); 15];
        check("nothing to fold", &[], 1, &[]);
        check("the sixteenth file folds", &fifteen, 1, &(0..15).collect::<Vec<_>>());
        check("a heartbeat adds nothing", &fifteen, 0, &[]);
        check("a large append stands higher", &fifteen, 16, &[]);
        let mut mixed = vec![of(16), of(400)];
        mixed.extend(vec![of(3); 15]);
        check("higher tiers stay", &mixed, 1, &(2..17).collect::<Vec<_>>());
        check("sixteen of a higher tier", &vec![of(17); 16], 1, &(0..16).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_manifest_is_left_alone_and_none_grows_beyond_two() {
        check("full", &[of(FULL); 40], 1, &[]);
        check("enough for a full one", &[of(300); 9], 1, &[0, 1, 2, 3]);
        check("almost full ones", &[of(FULL - 1); 9], 1, &[0, 1]);
        check("a large append alone", &[of(1)], FULL, &[]);
    }

    #[test]
    fn large_and_foreign_manifests_are_left_alone() {
        let large = Candidate { bytes: BYTES_MAX, ..of(1) };
        let foreign = Candidate { ours: false, ..of(1) };
        check("large", &[large; 40], 1, &[]);
        check("foreign", &[foreign; 40], 1, &[]);
    }

    #[test]
    fn portions_weigh_no_more_than_they_may_and_leave_nothing_out() {
        let cut = |items: &[u32]| -> Vec<Vec<u32>> {
            portions(items, 10, |item| *item).into_iter().map(<[u32]>::to_vec).collect()
        };
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[1; 16]), [vec![1; 10], vec![1; 6]]);
        assert_eq!(cut(&[4, 6, 1, 99, 99, 3]), [vec![4, 6], vec![1], vec![99], vec![99], vec![3]]);
    }

    #[test]
    fn a_hundred_thousand_commits_stay_few_and_cheap() {
        let (mut held, mut most, mut rewritten) = (Vec::<Candidate>::new(), 0, 0_u64);
        let mut largest = 0;
        for _ in 0..100_000 {
            let Plan { fold, with_new } = plan(&held, 1);
            let folded: u32 =
                fold.iter().filter_map(|place| held.get(*place)).map(|c| c.files).sum();
            let mut place = 0;
            held.retain(|_| {
                place += 1;
                !fold.contains(&(place - 1))
            });
            if folded > 0 && !with_new {
                held.push(of(folded));
            }
            held.push(of(if with_new { folded + 1 } else { 1 }));
            rewritten += u64::from(folded);
            largest = largest.max(folded);
            most = most.max(held.len());
        }
        assert!(most <= 100_000 / FULL as usize + 16 * 3, "{most} manifests");
        assert!(rewritten <= 4 * 100_000, "{rewritten} entries rewritten");
        assert!(largest < 2 * FULL, "{largest} entries in one fold");
    }
}
