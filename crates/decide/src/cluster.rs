//! Shots that are alike, by k-means over whatever features the caller has of them.

/// Rounds of k-means at the most; it settles long before on anything but ties.
const ROUNDS: usize = 100;

/// A cluster's number, below `count`, for each shot's features (all of one length). The same features give the same clusters at
/// every run: the first centre is the first shot, each further one the shot that is farthest from all centres so far.
///
/// The paper (section 4, Diversity) clusters segments beforehand too, by a method that it does not name.
pub fn clusters(features: &[Vec<f32>], count: usize) -> Vec<usize> {
    if features.is_empty() {
        return Vec::new();
    }
    let mut centres = first_centres(features, count.max(1));
    let mut of = vec![0; features.len()];
    for _ in 0..ROUNDS {
        let nearest: Vec<usize> = features.iter().map(|feature| nearest(feature, &centres).0).collect();
        let settled = std::mem::replace(&mut of, nearest) == of;
        if settled {
            break;
        }
        for (number, centre) in centres.iter_mut().enumerate() {
            let members = features.iter().zip(&of).filter(|&(_, &of)| of == number).map(|(feature, _)| feature);
            // One that has lost all its members stays where it was.
            if let Some(mean) = mean(members) {
                *centre = mean;
            }
        }
    }
    of
}

fn first_centres(features: &[Vec<f32>], count: usize) -> Vec<Vec<f32>> {
    let mut centres = vec![features[0].clone()];
    while centres.len() < count {
        let distances = features.iter().map(|feature| nearest(feature, &centres).1).enumerate();
        // The first of equals, so that the order of the shots decides.
        let (farthest, distance) =
            distances.fold((0, 0.0), |best, (i, distance)| if distance > best.1 { (i, distance) } else { best });
        if distance == 0.0 {
            break;
        }
        centres.push(features[farthest].clone());
    }
    centres
}

/// Number of the nearest centre, the first of equals, and the square of its distance.
fn nearest(feature: &[f32], centres: &[Vec<f32>]) -> (usize, f32) {
    let distance = |centre: &Vec<f32>| centre.iter().zip(feature).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    centres
        .iter()
        .map(distance)
        .enumerate()
        .fold((0, f32::INFINITY), |best, (number, distance)| if distance < best.1 { (number, distance) } else { best })
}

fn mean<'a>(members: impl Iterator<Item = &'a Vec<f32>>) -> Option<Vec<f32>> {
    let (mut sum, mut count) = (Vec::new(), 0.0);
    for member in members {
        sum.resize(member.len(), 0.0);
        sum.iter_mut().zip(member).for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter_mut().for_each(|sum| *sum /= count);
    (count > 0.0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_together_is_one_cluster() {
        let features = [[0.0, 0.0], [9.0, 9.0], [0.5, 0.0], [9.0, 8.5], [0.0, 9.0]].map(Vec::from);
        assert_eq!(clusters(&features, 3), [0, 1, 0, 1, 2]);
        assert_eq!(clusters(&features, 1), [0; 5]);
    }

    #[test]
    fn there_are_no_more_clusters_than_different_shots() {
        assert_eq!(clusters(&[vec![1.0], vec![1.0], vec![2.0]], 5), [0, 0, 1]);
        assert!(clusters(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn every_shot_lies_nearest_to_the_mean_of_its_own_cluster(
            features in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 3), 1..40), count in 1usize..8,
        ) {
            let of = clusters(&features, count);
            prop_assert_eq!(of.len(), features.len());
            prop_assert!(of.iter().all(|&number| number < count));
            let means: Vec<Option<Vec<f32>>> = (0..count)
                .map(|number| mean(features.iter().zip(&of).filter(|&(_, &of)| of == number).map(|(f, _)| f)))
                .collect();
            let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            for (feature, &number) in features.iter().zip(&of) {
                let own = distance(feature, means[number].as_ref().unwrap());
                let others = means.iter().flatten().map(|mean| distance(feature, mean));
                prop_assert!(others.fold(f32::INFINITY, f32::min) >= own - 1e-5);
            }
        }
    }
}
