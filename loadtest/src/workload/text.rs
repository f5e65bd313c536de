//! Made-up chat text of a wanted size in several scripts. The words are ordinary ones; the relay never reads them, but
//! reports, logs and people do, and sizes in bytes and in characters differ by script.

use crate::rng::Rng;

/// A writing system of the generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// ASCII only.
    Ascii,
    /// Korean.
    Hangul,
    /// Chinese.
    Han,
    /// Japanese.
    Kana,
    /// Russian.
    Cyrillic,
    /// Latin letters beyond ASCII.
    Latin,
    /// Arabic.
    Arabic,
    /// Hindi.
    Devanagari,
    /// Pictographs.
    Emoji,
    /// Greek.
    Greek,
    /// Hebrew.
    Hebrew,
    /// Thai.
    Thai,
}

impl Script {
    /// How many of 436,185 real messages have a character of it.
    pub const COUNTS: [(Script, u32); 11] = [
        (Script::Hangul, 17_091),
        (Script::Han, 9_095),
        (Script::Kana, 7_672),
        (Script::Cyrillic, 6_176),
        (Script::Latin, 5_679),
        (Script::Arabic, 3_265),
        (Script::Devanagari, 3_011),
        (Script::Emoji, 187),
        (Script::Greek, 154),
        (Script::Hebrew, 9),
        (Script::Thai, 1),
    ];

    /// Of how many messages the counts are.
    pub const COUNTS_OF: u32 = 436_185;

    fn words(self) -> &'static [&'static str] {
        match self {
            Script::Ascii => &[
                "the",
                "so",
                "i",
                "have",
                "to",
                "install",
                "it",
                "works",
                "now",
                "thanks",
                "what",
                "is",
                "your",
                "error",
                "try",
                "again",
                "with",
                "sudo",
                "restart",
                "and",
                "then",
                "look",
                "at",
                "the",
                "log",
                "yes",
                "no",
                "ok",
                "anyone",
                "here",
                "can",
                "help",
                "me",
                "please",
                "good",
                "morning",
                "function",
                "array",
                "returns",
                "undefined",
                "because",
                "you",
                "are",
                "not",
                "calling",
                "hello",
                "world",
            ],
            Script::Hangul => &[
                "안녕하세요",
                "네",
                "감사합니다",
                "지금",
                "다시",
                "해볼게요",
                "오늘",
                "회의",
                "시작합시다",
                "좋아요",
                "그런데",
                "문제가",
                "있습니다",
                "서버가",
                "느려요",
                "괜찮아요",
                "알겠습니다",
                "누가",
                "확인해",
                "주세요",
                "내일",
                "봐요",
            ],
            Script::Han => &[
                "你好",
                "谢谢",
                "现在",
                "可以",
                "我们",
                "开始",
                "会议",
                "没有",
                "问题",
                "请",
                "再试一次",
                "服务器",
                "很慢",
                "明天",
                "见",
            ],
            Script::Kana => &[
                "こんにちは",
                "ありがとう",
                "はい",
                "それは",
                "テスト",
                "です",
                "サーバー",
                "が",
                "おそい",
                "もういちど",
                "ください",
                "なるほど",
                "エラー",
                "でした",
            ],
            Script::Cyrillic => &[
                "привет",
                "спасибо",
                "да",
                "нет",
                "сейчас",
                "посмотрю",
                "ошибка",
                "сервер",
                "работает",
                "попробуй",
                "ещё",
                "раз",
                "почему",
                "не",
                "понятно",
            ],
            Script::Latin => {
                &["olá", "você", "não", "está", "así", "qué", "señor", "naïve", "über", "für", "żółw", "część", "çok"]
            }
            Script::Arabic => &["مرحبا", "شكرا", "نعم", "لا", "الآن", "الخادم", "بطيء", "حاول", "مرة", "أخرى", "غدا"],
            Script::Devanagari => &["नमस्ते", "धन्यवाद", "हाँ", "नहीं", "अब", "सर्वर", "धीमा", "फिर", "कोशिश", "कल"],
            Script::Emoji => &["😀", "👍", "🎉", "🔥", "🙏", "😅"],
            Script::Greek => &["γεια", "ευχαριστώ", "ναι", "όχι", "τώρα"],
            Script::Hebrew => &["שלום", "תודה", "כן", "לא", "עכשיו"],
            Script::Thai => &["สวัสดี", "ขอบคุณ", "ใช่", "ไม่", "ตอนนี้"],
        }
    }
}

/// A text of exactly `bytes` bytes of UTF-8 (at least 1) in the script, mixed with ASCII as people write.
pub fn body_of(script: Script, bytes: usize, rng: &mut Rng) -> Box<str> {
    let bytes = bytes.max(1);
    let mut text = String::with_capacity(bytes);
    let words = script.words();
    let mut first = true;
    while text.len() < bytes {
        // The first word is the script's, so that a text of the script shows it however short.
        let from = if first || rng.chance(0.85) { words } else { Script::Ascii.words() };
        let word = from[rng.below(from.len())];
        let room = bytes - text.len() - usize::from(!first);
        if !first {
            text.push(' ');
        }
        text.push_str(&word[..word.floor_char_boundary(room.min(word.len()))]);
        first = false;
        let left = bytes - text.len();
        if left > 0 && left <= 4 {
            // Closes the gap that the boundary of a wide character leaves.
            text.extend(std::iter::repeat_n('.', left));
        }
    }
    text.into()
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
