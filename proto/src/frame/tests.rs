use super::*;
use crate::limits::FRAME_BYTES_MAX;
use alloc::vec;

fn all(decoder: &mut Decoder, mut bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(&mut bytes)? {
        frames.push(frame);
    }
    assert!(bytes.is_empty(), "all bytes were taken");
    Ok(frames)
}

#[test]
fn a_frame_looks_like_this() {
    let mut out = vec![9];
    encode(Lane::Bulk, b"abc", &mut out).unwrap();
    assert_eq!(out, [9, 3, 0, 1, b'a', b'b', b'c']);
}

#[test]
fn any_portions_give_the_same_frames() {
    let mut bytes = Vec::new();
    let bodies: [&[u8]; 3] = [b"x", &[7; 300], &[8; BODY_BYTES_MAX]];
    for (at, body) in bodies.iter().enumerate() {
        encode(if at == 1 { Lane::Bulk } else { Lane::Control }, body, &mut bytes).unwrap();
    }
    let whole = all(&mut Decoder::default(), &bytes).unwrap();
    assert_eq!(whole.iter().map(|frame| frame.body.as_slice()).collect::<Vec<_>>(), bodies);
    assert_eq!(whole[1].lane, Lane::Bulk);
    for portion in [1, 2, 3, 5, 301, FRAME_BYTES_MAX] {
        let mut decoder = Decoder::default();
        let frames: Vec<Frame> =
            bytes.chunks(portion).flat_map(|portion| all(&mut decoder, portion).unwrap()).collect();
        assert_eq!(frames, whole, "in portions of {portion}");
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    assert_eq!(all(&mut Decoder::default(), &[0, 0, 0]), Err(FrameError::Empty));
    assert_eq!(all(&mut Decoder::default(), &[1, 0, 2, 1]), Err(FrameError::UnknownLane(2)));
    assert_eq!(all(&mut Decoder::default(), &[254, 255, 0]), Err(FrameError::TooLong(65534)));
    let mut out = Vec::new();
    assert_eq!(encode(Lane::Control, &[], &mut out), Err(FrameError::Empty));
    let long = vec![0; BODY_BYTES_MAX + 1];
    assert_eq!(encode(Lane::Control, &long, &mut out), Err(FrameError::TooLong(BODY_BYTES_MAX + 1)));
    assert!(out.is_empty(), "nothing of a refused frame is written");
}
