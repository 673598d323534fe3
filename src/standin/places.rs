//! Where the invented tweets are: places of the real world, how many tweets each has, and in which language.
//!
//! `tweets` places what it invents by this list. This room is data only, and knows nothing of tweets.

use super::words::{
    ARABIC, CHINESE, ENGLISH, FRENCH, GERMAN, HINDI, INDONESIAN, JAPANESE, KOREAN, Language,
    NEPALI, PORTUGUESE, RUSSIAN, SPANISH, TURKISH,
};

/// A place that people tweet from.
pub struct Place {
    pub name: &'static str,
    pub latitude: f64,
    pub longitude: f64,
    pub spread_kilometres: f64,
    pub tweets: u64,
    pub language: &'static Language,
}

impl Place {
    /// The name up to its first comma: people do not write "Lukla, Nepal" into a sentence.
    pub fn short_name(&self) -> &'static str {
        self.name.split(',').next().expect("split gives one part")
    }
}

const fn place(
    name: &'static str,
    latitude: f64,
    longitude: f64,
    spread_kilometres: f64,
    tweets: u64,
    language: &'static Language,
) -> Place {
    Place {
        name,
        latitude,
        longitude,
        spread_kilometres,
        tweets,
        language,
    }
}

/// All places. The order is part of the set: the same dice draw other tweets in another.
#[rustfmt::skip]
pub static PLACES: &[Place] = &[
    // Within 100 km of +27.5916+086.5640, the location in the assignment's example; the first
    // three within some 10 km of it. Kathmandu is just beyond the 100.
    place("Junbesi, Nepal", 27.5833, 86.5167, 3.0, 16, &NEPALI),
    place("Phaplu, Nepal", 27.5167, 86.5833, 3.0, 18, &NEPALI),
    place("Salleri, Nepal", 27.5040, 86.5870, 3.0, 16, &NEPALI),
    place("Lukla, Nepal", 27.6869, 86.7298, 5.0, 48, &NEPALI),
    place("Namche Bazaar, Nepal", 27.8047, 86.7140, 6.0, 60, &NEPALI),
    place("Everest Base Camp, Nepal", 28.0043, 86.8570, 4.0, 32, &ENGLISH),
    place("Jiri, Nepal", 27.6333, 86.2333, 8.0, 22, &NEPALI),
    place("Okhaldhunga, Nepal", 27.3167, 86.5000, 8.0, 22, &NEPALI),
    place("Kathmandu, Nepal", 27.7172, 85.3240, 12.0, 140, &NEPALI),
    // Cities.
    place("UCLA, Los Angeles", 34.0689, -118.4451, 2.0, 120, &ENGLISH),
    place("Los Angeles, CA", 34.0522, -118.2437, 35.0, 240, &ENGLISH),
    place("New York, NY", 40.7128, -74.0060, 20.0, 220, &ENGLISH),
    place("London, England", 51.5074, -0.1278, 22.0, 220, &ENGLISH),
    place("Paris, France", 48.8566, 2.3522, 15.0, 160, &FRENCH),
    place("Berlin, Deutschland", 52.5200, 13.4050, 18.0, 140, &GERMAN),
    place("Tokyo, Japan", 35.6762, 139.6503, 25.0, 224, &JAPANESE),
    place("São Paulo, Brasil", -23.5505, -46.6333, 25.0, 180, &PORTUGUESE),
    place("Ciudad de México, México", 19.4326, -99.1332, 22.0, 170, &SPANISH),
    place("İstanbul, Türkiye", 41.0082, 28.9784, 20.0, 160, &TURKISH),
    place("Москва, Россия", 55.7558, 37.6173, 22.0, 150, &RUSSIAN),
    place("Jakarta, Indonesia", -6.2088, 106.8456, 18.0, 190, &INDONESIAN),
    place("Lagos, Nigeria", 6.5244, 3.3792, 14.0, 130, &ENGLISH),
    place("Mumbai, India", 19.0760, 72.8777, 14.0, 130, &HINDI),
    place("Sydney, Australia", -33.8688, 151.2093, 18.0, 130, &ENGLISH),
    // The rest of the world.
    place("Reykjavík, Iceland", 64.1466, -21.9426, 12.0, 30, &ENGLISH),
    place("Dublin, Ireland", 53.3498, -6.2603, 18.0, 36, &ENGLISH),
    place("Lisboa, Portugal", 38.7223, -9.1393, 15.0, 34, &PORTUGUESE),
    place("Madrid, España", 40.4168, -3.7038, 30.0, 44, &SPANISH),
    place("Barcelona, España", 41.3874, 2.1686, 15.0, 36, &SPANISH),
    place("Lyon, France", 45.7640, 4.8357, 30.0, 30, &FRENCH),
    place("Roma, Italia", 41.9028, 12.4964, 20.0, 30, &ENGLISH),
    place("Wien, Österreich", 48.2082, 16.3738, 25.0, 30, &GERMAN),
    place("München, Deutschland", 48.1351, 11.5820, 30.0, 34, &GERMAN),
    place("Warszawa, Polska", 52.2297, 21.0122, 30.0, 28, &ENGLISH),
    place("Stockholm, Sverige", 59.3293, 18.0686, 25.0, 30, &ENGLISH),
    place("Санкт-Петербург, Россия", 59.9311, 30.3609, 20.0, 36, &RUSSIAN),
    place("Новосибирск, Россия", 55.0084, 82.9357, 40.0, 24, &RUSSIAN),
    place("Анадырь, Россия", 64.7337, 177.5089, 30.0, 12, &RUSSIAN),
    place("القاهرة, مصر", 30.0444, 31.2357, 22.0, 44, &ARABIC),
    place("الدار البيضاء, المغرب", 33.5731, -7.5898, 18.0, 30, &ARABIC),
    place("الرياض, السعودية", 24.7136, 46.6753, 30.0, 40, &ARABIC),
    place("Dubai, UAE", 25.2048, 55.2708, 20.0, 34, &ARABIC),
    place("Accra, Ghana", 5.6037, -0.1870, 15.0, 26, &ENGLISH),
    place("Kinshasa, RDC", -4.4419, 15.2663, 18.0, 22, &FRENCH),
    place("Nairobi, Kenya", -1.2921, 36.8219, 25.0, 36, &ENGLISH),
    place("Antananarivo, Madagascar", -18.8792, 47.5079, 25.0, 18, &FRENCH),
    place("Johannesburg, South Africa", -26.2041, 28.0473, 30.0, 38, &ENGLISH),
    place("Cape Town, South Africa", -33.9249, 18.4241, 15.0, 32, &ENGLISH),
    place("Karachi, Pakistan", 24.8607, 67.0011, 18.0, 30, &ENGLISH),
    place("नई दिल्ली, भारत", 28.6139, 77.2090, 25.0, 44, &HINDI),
    place("Colombo, Sri Lanka", 6.9271, 79.8612, 14.0, 22, &ENGLISH),
    place("Lhasa", 29.6520, 91.1721, 20.0, 18, &CHINESE),
    place("Bangkok, Thailand", 13.7563, 100.5018, 25.0, 38, &ENGLISH),
    place("Singapore", 1.3521, 103.8198, 12.0, 40, &ENGLISH),
    place("Surabaya, Indonesia", -7.2575, 112.7521, 20.0, 40, &INDONESIAN),
    place("Manila, Philippines", 14.5995, 120.9842, 15.0, 40, &ENGLISH),
    place("香港", 22.3193, 114.1694, 12.0, 38, &CHINESE),
    place("北京, 中国", 39.9042, 116.4074, 30.0, 36, &CHINESE),
    place("서울, 대한민국", 37.5665, 126.9780, 20.0, 50, &KOREAN),
    place("大阪, 日本", 34.6937, 135.5023, 18.0, 50, &JAPANESE),
    place("札幌, 日本", 43.0618, 141.3545, 20.0, 26, &JAPANESE),
    place("Perth, Australia", -31.9505, 115.8605, 25.0, 30, &ENGLISH),
    place("Alice Springs, Australia", -23.6980, 133.8807, 60.0, 14, &ENGLISH),
    place("Auckland, New Zealand", -36.8509, 174.7645, 18.0, 32, &ENGLISH),
    place("Honolulu, HI", 21.3069, -157.8583, 10.0, 28, &ENGLISH),
    place("Anchorage, AK", 61.2181, -149.9003, 30.0, 22, &ENGLISH),
    place("Vancouver, BC", 49.2827, -123.1207, 20.0, 34, &ENGLISH),
    place("San Francisco, CA", 37.7749, -122.4194, 15.0, 50, &ENGLISH),
    place("Denver, CO", 39.7392, -104.9903, 40.0, 32, &ENGLISH),
    place("Chicago, IL", 41.8781, -87.6298, 25.0, 46, &ENGLISH),
    place("Houston, TX", 29.7604, -95.3698, 40.0, 40, &ENGLISH),
    place("Miami, FL", 25.7617, -80.1918, 15.0, 36, &SPANISH),
    place("Toronto, Ontario", 43.6532, -79.3832, 20.0, 40, &ENGLISH),
    place("Montréal, Québec", 45.5017, -73.5673, 20.0, 32, &FRENCH),
    place("La Habana, Cuba", 23.1136, -82.3666, 12.0, 16, &SPANISH),
    place("Bogotá, Colombia", 4.7110, -74.0721, 20.0, 42, &SPANISH),
    place("Quito, Ecuador", -0.1807, -78.4678, 20.0, 26, &SPANISH),
    place("Lima, Perú", -12.0464, -77.0428, 15.0, 34, &SPANISH),
    place("Caracas, Venezuela", 10.4806, -66.9036, 14.0, 38, &SPANISH),
    place("Santiago, Chile", -33.4489, -70.6693, 25.0, 40, &SPANISH),
    place("Buenos Aires, Argentina", -34.6037, -58.3816, 25.0, 50, &SPANISH),
    place("Ushuaia, Argentina", -54.8019, -68.3030, 10.0, 12, &SPANISH),
    place("Salvador, Brasil", -12.9777, -38.5016, 15.0, 36, &PORTUGUESE),
    place("Manaus, Brasil", -3.1190, -60.0217, 30.0, 24, &PORTUGUESE),
    // On the date line, and at the ends of the Earth: where a search of boxes of degrees fails.
    place("Taveuni, Fiji", -16.8500, -179.9800, 12.0, 18, &ENGLISH),
    place("Suva, Fiji", -18.1416, 178.4419, 10.0, 16, &ENGLISH),
    place("Longyearbyen, Svalbard", 78.2232, 15.6267, 15.0, 14, &ENGLISH),
    place("Alert, Nunavut", 82.5018, -62.3481, 10.0, 8, &ENGLISH),
    place("North Pole", 89.9500, 40.0000, 20.0, 6, &ENGLISH),
    place("McMurdo Station, Antarctica", -77.8419, 166.6863, 5.0, 12, &ENGLISH),
    place("South Pole", -90.0000, 0.0000, 6.0, 8, &ENGLISH),
];
