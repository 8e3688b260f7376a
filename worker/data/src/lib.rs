//! The data room: logs in, clean and provable datasets out.
