//! What the invented tweets say: names, sentences and tags of fourteen languages.
//!
//! `places` says which language is written where, and `tweets` fills the sentences in. This room is data only.
//! `{place}`, `{thing}` and `{number}` stand for what is filled in.

/// What people write in one language, and what they are called.
pub struct Language {
    /// ISO 639-1.
    pub code: &'static str,
    pub given_names: &'static [&'static str],
    pub family_names: &'static [&'static str],
    pub templates: &'static [&'static str],
    pub things: &'static [&'static str],
    pub tags: &'static [&'static str],
}

/// The programs that tweets are sent with, as HTML links; the common ones stand there more than once.
pub static SOURCES: &[&str] = &[
    r#"<a href="http://twitter.com/">web</a>"#,
    r#"<a href="http://twitter.com/">web</a>"#,
    r#"<a href="http://twitter.com/download/iphone" rel="nofollow">Twitter for iPhone</a>"#,
    r#"<a href="http://twitter.com/download/android" rel="nofollow">Twitter for Android</a>"#,
    r#"<a href="http://blackberry.com/twitter" rel="nofollow">Twitter for BlackBerry®</a>"#,
    r#"<a href="http://www.tweetdeck.com" rel="nofollow">TweetDeck</a>"#,
    r#"<a href="http://www.hootsuite.com" rel="nofollow">HootSuite</a>"#,
    r#"<a href="http://instagram.com" rel="nofollow">Instagram</a>"#,
    r#"<a href="http://foursquare.com" rel="nofollow">foursquare</a>"#,
    r#"<a href="http://levelupstudio.com/plume" rel="nofollow">Plume for Android</a>"#,
];

/// What some texts end with.
pub static EMOJI: &[&str] = &[
    "😂",
    "😍",
    "🙏",
    "🏔",
    "❤",
    "🎉",
    "☀",
    "👍🏽",
    "👨‍👩‍👧",
    "🇳🇵",
    ":)",
    ":-/",
    "♥",
];

pub static ENGLISH: Language = Language {
    code: "en",
    given_names: &[
        "Anna", "Ben", "Chloe", "Dave", "Ella", "Femi", "Grace", "Hank", "Isla", "Jack", "Kemi",
        "Liam", "Mia", "Noah", "Olu", "Priya", "Quinn", "Ruby", "Sam", "Tess",
    ],
    family_names: &[
        "Ade", "Brown", "Clark", "Evans", "Hill", "Jones", "Kelly", "Lee", "Moore", "Reid",
        "Smith", "Ward",
    ],
    templates: &[
        "finally {thing} in {place} after {number} hours of waiting",
        "anyone else in {place} awake? thinking about {thing} again",
        "{thing} in {place} >>> {thing} anywhere else",
        "I <3 {place}",
        "day {number}: still no {thing}. send help",
        "\"{thing}\" he said, \"how hard can it be?\"",
        "best {thing} of my life, {number}/10 would do again",
        "just saw {number} people queueing for {thing} in {place}, why",
        "{place} traffic is something else. {number} minutes and we moved one block",
        "note to self: {thing} & coffee do not mix",
        "my answer to everything today: ¯\\_(ツ)_/¯",
        "who put my {thing} in C:\\Users\\guest\\Desktop\\new folder ({number})",
        "good morning {place}! today: {thing}, then a nap",
        "the view from here. {place}, you win",
        "missing {place} already, {number} more sleeps",
        "lost my phone in {place}, found it {number} minutes later under {thing}",
        "if x < {number} && tired: sleep(); else: {thing}",
        "can somebody explain {thing} to me like I am five",
        "power cut in {place} again, {thing} by candlelight it is",
        "{number} degrees and sunny in {place}, perfect for {thing}",
        "today's plan: {thing}. actual day: none of that",
        "so proud of everyone at the {place} {thing} meetup last night",
    ],
    things: &[
        "football practice",
        "fish & chips",
        "the midterm",
        "live music",
        "the trek",
        "fresh momos",
        "my flight",
        "homework",
        "a night bus",
        "the election",
        "street food",
        "yoga",
        "the new phone",
        "breakfast",
        "open-source software",
        "the derby",
        "rooftop tea",
        "laundry",
        "the snow",
        "a good book",
    ],
    tags: &[
        "nowplaying",
        "travel",
        "Everest",
        "weekend",
        "fail",
        "win",
        "foodie",
        "news",
        "Skyfall",
        "TGIF",
        "weather",
    ],
};

pub static NEPALI: Language = Language {
    code: "ne",
    given_names: &[
        "Pasang", "Mingma", "Dawa", "Lhakpa", "Nima", "Pemba", "Tenzing", "Sita", "Bishnu",
        "Ramesh", "Anil", "Sunita", "Kamala", "Phurba", "Ang",
    ],
    family_names: &[
        "Sherpa", "Rai", "Limbu", "Tamang", "Gurung", "KC", "Thapa", "Magar",
    ],
    templates: &[
        "आज {place}मा {thing} राम्रो छ",
        "{place} बाट नमस्ते! {number} दिनको यात्रा सकियो",
        "{thing} अनि चिया, अरू के चाहियो",
        "{place}मा बिजुली गयो, फेरि {number} घण्टा",
        "\"{thing}\" कसैले देख्यो?",
        "दाइ, {place}को {thing} कस्तो छ?",
        "शुभ बिहानी {place}! आज {thing}",
        "{number} जना साथी {thing}का लागि आए",
    ],
    things: &[
        "मौसम",
        "हिमाल",
        "दालभात",
        "बाटो",
        "उडान",
        "हिउँ",
        "बजार",
        "मःम",
    ],
    tags: &["नेपाल", "Everest", "Khumbu", "Nepal", "सगरमाथा", "trekking"],
};

pub static SPANISH: Language = Language {
    code: "es",
    given_names: &[
        "Ana", "Carlos", "Diego", "Elena", "Lucia", "Javi", "Marta", "Pablo", "Rosa", "Sofi",
    ],
    family_names: &[
        "Diaz", "Garcia", "Lopez", "Luna", "Perez", "Rios", "Ruiz", "Vega",
    ],
    templates: &[
        "¿alguien más en {place} pensando en {thing}?",
        "qué bonita mañana en {place}, ideal para {thing}",
        "{number} horas esperando {thing}... ¡ya no puedo más!",
        "\"{thing}\", dijo, y se fue",
        "el tráfico en {place} está imposible, {number} minutos parados",
        "mañana será otro día, hoy {thing}",
        "feliz cumpleaños mamá, te extraño desde {place}",
        "jajaja {thing} & siesta: el plan perfecto",
    ],
    things: &[
        "el café",
        "fútbol",
        "la película",
        "tacos",
        "la tarea",
        "el concierto",
        "el niño",
    ],
    tags: &[
        "BuenFin",
        "buenosdías",
        "fútbol",
        "ViernesTotal",
        "música",
        "amor",
    ],
};

pub static PORTUGUESE: Language = Language {
    code: "pt",
    given_names: &[
        "Bia", "Caio", "Davi", "Julia", "Lara", "Luan", "Nanda", "Rafa", "Thiago",
    ],
    family_names: &["Alves", "Costa", "Lima", "Melo", "Rocha", "Silva", "Souza"],
    templates: &[
        "bom dia {place}! hoje tem {thing}",
        "não aguento mais {thing}, já são {number} dias",
        "saudade de {place} e de {thing}",
        "alguém me explica {thing}? rs",
        "{number} graus em {place}, só quero {thing}",
        "\"amanhã eu estudo\", eu, há {number} semanas",
        "meu coração é de {place} <3",
    ],
    things: &[
        "praia",
        "o jogo",
        "pão de queijo",
        "a prova",
        "show",
        "feijoada",
        "o ônibus",
    ],
    tags: &["partiu", "Brasileirão", "bomdia", "feriadão", "música"],
};

pub static FRENCH: Language = Language {
    code: "fr",
    given_names: &[
        "Camille", "Hugo", "Jules", "Lea", "Louis", "Manon", "Nico", "Zoe",
    ],
    family_names: &[
        "Blanc", "Dubois", "Fabre", "Leroy", "Martin", "Petit", "Roux",
    ],
    templates: &[
        "enfin {thing} à {place}, après {number} heures !",
        "il pleut sur {place}, parfait pour {thing}",
        "« {thing} », qu'il disait",
        "déjà {number} jours sans {thing}, ça va être long",
        "qui est à {place} ce soir ? {thing} & bonne compagnie",
        "la grève continue à {place}, {number} minutes d'attente",
        "joyeux anniversaire à ma sœur, rendez-vous à {place}",
    ],
    things: &[
        "un café crème",
        "le métro",
        "la leçon",
        "le marché",
        "une tarte",
        "le match",
    ],
    tags: &["Paris", "métro", "JeSuisFatigué", "météo", "musique"],
};

pub static GERMAN: Language = Language {
    code: "de",
    given_names: &[
        "Anja", "Felix", "Greta", "Jan", "Jonas", "Lena", "Max", "Uwe",
    ],
    family_names: &["Bauer", "Braun", "Koch", "Krause", "Meyer", "Vogt", "Wolf"],
    templates: &[
        "Guten Morgen {place}! Heute gibt's {thing}",
        "schon wieder {number} Minuten Verspätung in {place}, danke Bahn",
        "{thing} am Freitagabend – so muss das",
        "wer kommt heute mit nach {place}? {thing} für {number} Leute",
        "„{thing}“ ist auch keine Lösung",
        "übermorgen Prüfung, stattdessen {thing}",
    ],
    things: &[
        "Brötchen",
        "Fußball",
        "Kaffee & Kuchen",
        "Glühwein",
        "der Tatort",
        "Grünkohl",
    ],
    tags: &["Tatort", "Bundesliga", "Frühstück", "Deutschland", "wetter"],
};

pub static RUSSIAN: Language = Language {
    code: "ru",
    given_names: &[
        "Alexey", "Dasha", "Ivan", "Katya", "Masha", "Misha", "Olga", "Yura",
    ],
    family_names: &["Belov", "Frolov", "Ivanov", "Orlov", "Popov", "Titov"],
    templates: &[
        "доброе утро, {place}! сегодня {thing}",
        "в {place} опять пробки, стоим {number} минут",
        "«{thing}» — лучший план на вечер",
        "уже {number} дней думаю про {thing}",
        "кто сейчас в {place}? {thing} и чай",
    ],
    things: &["снег", "кино", "метро", "футбол", "экзамен", "блины"],
    tags: &["Россия", "пятница", "погода", "снег"],
};

pub static TURKISH: Language = Language {
    code: "tr",
    given_names: &["Ahmet", "Ayse", "Burak", "Elif", "Emre", "Merve", "Zeynep"],
    family_names: &["Aydin", "Celik", "Demir", "Kaya", "Sahin", "Yilmaz"],
    templates: &[
        "günaydın {place}! bugün {thing} var",
        "{place} trafiği yine kilit, {number} dakika oldu",
        "\"{thing}\" deyip geçmeyin",
        "{number} gündür {thing} bekliyorum, hâlâ yok",
        "çay, simit & {thing}: daha ne olsun",
    ],
    things: &["maç", "sınav", "kahvaltı", "yağmur", "dizi", "balık ekmek"],
    tags: &["günaydın", "Türkiye", "GalatasarayMaçı", "hayat"],
};

pub static ARABIC: Language = Language {
    code: "ar",
    given_names: &[
        "Ahmed", "Aisha", "Fahad", "Hala", "Layla", "Omar", "Salma", "Yousef",
    ],
    family_names: &["Ali", "Fathy", "Hassan", "Nasser", "Saleh", "Zaki"],
    templates: &[
        "صباح الخير يا {place}، اليوم {thing}",
        "الزحمة في {place} لا تنتهي، {number} دقيقة",
        "\"{thing}\" أجمل ما في اليوم",
        "منذ {number} يوم و أنا أفكر في {thing}",
        "من في {place} الآن؟ {thing} و قهوة",
    ],
    things: &["المباراة", "المطر", "القهوة", "الامتحان", "الكتاب", "السفر"],
    tags: &["صباح_الخير", "مصر", "الجمعة", "رياضة"],
};

pub static HINDI: Language = Language {
    code: "hi",
    given_names: &[
        "Aarav", "Anjali", "Deepak", "Kavya", "Neha", "Rahul", "Rohan", "Vikram",
    ],
    family_names: &["Gupta", "Iyer", "Joshi", "Mehta", "Patel", "Rao", "Singh"],
    templates: &[
        "सुप्रभात {place}! आज {thing}",
        "{place} में फिर जाम, {number} मिनट से खड़े हैं",
        "\"{thing}\" के बिना दिन अधूरा है",
        "{number} दिन से {thing} का इंतज़ार",
        "चाय & {thing}, बस यही ज़िंदगी है",
    ],
    things: &["क्रिकेट", "बारिश", "दिवाली", "परीक्षा", "समोसा", "लोकल ट्रेन"],
    tags: &["दिवाली", "INDvsENG", "क्रिकेट", "India"],
};

pub static JAPANESE: Language = Language {
    code: "ja",
    given_names: &[
        "aki", "haru", "hiro", "kana", "kenji", "mayu", "ren", "yuki",
    ],
    family_names: &["ito", "kato", "mori", "sato", "suzuki", "tanaka"],
    templates: &[
        "{place}なう。{thing}が最高すぎる",
        "おはよう{place}！今日は{thing}",
        "電車が{number}分遅れてる… {thing}に間に合わない",
        "「{thing}」って言われても困る",
        "{number}時間寝てない（笑）{thing}のせい",
        "{place}は雨。{thing}日和だなあ",
    ],
    things: &[
        "ラーメン",
        "紅葉",
        "テスト",
        "ライブ",
        "コーヒー",
        "残業",
        "猫",
    ],
    tags: &["東京", "紅葉", "おはよう", "nowplaying", "猫"],
};

pub static KOREAN: Language = Language {
    code: "ko",
    given_names: &["hana", "jihoon", "jimin", "minho", "sora", "yuna"],
    family_names: &["choi", "jung", "kim", "lee", "park"],
    templates: &[
        "좋은 아침 {place}! 오늘은 {thing}",
        "{place} 지하철에서 {number}분째 서 있는 중 ㅠㅠ",
        "\"{thing}\" 생각만 {number}일째",
        "오늘 저녁은 {thing} & 커피",
    ],
    things: &["김치찌개", "수능", "첫눈", "축구", "커피", "콘서트"],
    tags: &["서울", "수능", "첫눈", "일상"],
};

pub static CHINESE: Language = Language {
    code: "zh",
    given_names: &["fang", "hao", "jing", "lei", "mei", "ming", "wei", "xiu"],
    family_names: &["chan", "chen", "li", "lin", "wang", "zhao"],
    templates: &[
        "早安{place}！今天{thing}",
        "{place}又堵车了，{number}分钟没动",
        "「{thing}」真的好吃吗？",
        "想念{thing}的第{number}天",
    ],
    things: &["火锅", "考试", "爬山", "电影", "奶茶", "篮球"],
    tags: &["早安", "天气", "香港", "美食"],
};

pub static INDONESIAN: Language = Language {
    code: "id",
    given_names: &[
        "Adi", "Ayu", "Bayu", "Dewi", "Dimas", "Indah", "Putri", "Rizky",
    ],
    family_names: &["Hadi", "Putra", "Sari", "Utami", "Wati", "Yanto"],
    templates: &[
        "selamat pagi {place}! hari ini {thing} dulu yaa",
        "macet lagi di {place}, udah {number} menit gak gerak",
        "kangen {thing} di {place} :(",
        "\"{thing}\" katanya, padahal... wkwkwk",
        "{number} hari lagi liburan, {thing} menunggu",
        "yg lagi di {place} siapa aja? {thing} yuk & ngopi",
    ],
    things: &["nasi goreng", "futsal", "ujian", "hujan", "konser", "bakso"],
    tags: &["SelamatPagi", "macet", "Jakarta", "galau"],
};
