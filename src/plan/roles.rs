//! What a mailbox is for: as its server says (RFC 6154), else as its name says in some language.

use std::collections::BTreeMap;

use crate::mail::{Mailbox, MailboxPath, SpecialUse};

/// The uses that are places; `\All` and `\Flagged` are views.
pub const PLACES: [SpecialUse; 5] = [
    SpecialUse::Archive,
    SpecialUse::Drafts,
    SpecialUse::Junk,
    SpecialUse::Sent,
    SpecialUse::Trash,
];

/// How it is known what a mailbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its server says so.
    ByAttribute,
    /// By its name, which means that in this language.
    ByName(&'static str),
}

/// The mailboxes for one use, the likeliest first.
pub type Candidates = BTreeMap<SpecialUse, Vec<(MailboxPath, Known)>>;

/// Tells which mailboxes of an account are for what. Names count where no attribute says which mailbox
/// is for a use: those at the top, and below what Gmail keeps its own in.
pub fn candidates<'m>(
    mailboxes: impl IntoIterator<Item = (&'m Mailbox, &'m MailboxPath)>,
) -> Candidates {
    let mut by_attribute = Candidates::new();
    let mut by_name: BTreeMap<SpecialUse, Vec<(usize, MailboxPath, Known)>> = BTreeMap::new();
    for (mailbox, path) in mailboxes {
        if let Some(special_use) = mailbox.special_use {
            let known = (path.clone(), Known::ByAttribute);
            by_attribute.entry(special_use).or_default().push(known);
        } else if let Some((special_use, language, rank)) = named(path) {
            let known = (rank, path.clone(), Known::ByName(language));
            by_name.entry(special_use).or_default().push(known);
        }
    }
    for (special_use, mut named) in by_name {
        named.sort_by(|(rank, path, _), (other, other_path, _)| {
            (rank, path).cmp(&(other, other_path))
        });
        let named = || named.into_iter().map(|(_, path, known)| (path, known)).collect();
        by_attribute.entry(special_use).or_insert_with(named);
    }
    by_attribute.retain(|special_use, _| PLACES.contains(special_use));
    by_attribute
}

/// What a mailbox is for by its name, the language, and where the name stands in the table.
fn named(path: &MailboxPath) -> Option<(SpecialUse, &'static str, usize)> {
    let name = match path.names() {
        [name] => name,
        [above, name] if ["[Gmail]", "[Google Mail]"].contains(&above.as_str()) => name,
        _ => return None,
    };
    let folded = name.trim().to_lowercase();
    let all = NAMES.iter().flat_map(|(special_use, languages)| {
        languages.iter().flat_map(move |(language, names)| {
            names.iter().map(move |n| (special_use, language, n))
        })
    });
    all.zip(0..)
        .find(|((_, _, name), _)| name.to_lowercase() == folded)
        .map(|((special_use, language, _), rank)| (*special_use, *language, rank))
}

type Names = (SpecialUse, &'static [(&'static str, &'static [&'static str])]);

/// What servers and mail programs call these mailboxes, by language. The more usual stand first. No
/// name stands for two uses.
const NAMES: [Names; 5] = [
    (SpecialUse::Sent, SENT),
    (SpecialUse::Drafts, DRAFTS),
    (SpecialUse::Trash, TRASH),
    (SpecialUse::Junk, JUNK),
    (SpecialUse::Archive, ARCHIVE),
];

const SENT: &[(&str, &[&str])] = &[
    ("English", &["Sent", "Sent Items", "Sent Mail", "Sent Messages", "Sent-Mail", "SentMail"]),
    ("German", &["Gesendet", "Gesendete Objekte", "Gesendete Elemente", "Gesendete Nachrichten"]),
    ("German", &["Gesendete Mails", "Gesendete E-Mails"]),
    ("French", &["Envoyés", "Éléments envoyés", "Messages envoyés", "Courrier envoyé", "Envoyes"]),
    ("Spanish", &["Enviados", "Elementos enviados", "Mensajes enviados", "Correo enviado"]),
    ("Portuguese", &["Enviadas", "Itens enviados", "Itens Enviadas", "Mensagens enviadas"]),
    ("Portuguese", &["E-mails enviados", "Correio enviado"]),
    ("Italian", &["Posta inviata", "Inviati", "Inviata", "Elementi inviati", "Messaggi inviati"]),
    ("Dutch", &["Verzonden", "Verzonden items", "Verzonden berichten", "Verstuurd"]),
    ("Danish", &["Sendt post", "Sendte elementer", "Sendte mails"]),
    ("Norwegian", &["Sendt", "Sendte", "Sendte meldinger", "Sende element"]),
    ("Swedish", &["Skickat", "Skickade", "Skickade objekt", "Skickade meddelanden"]),
    ("Finnish", &["Lähetetyt", "Lähetetyt viestit", "Lähetetyt kohteet"]),
    ("Icelandic", &["Sent atriði", "Sendir hlutir", "Sendur póstur"]),
    ("Estonian", &["Saadetud", "Saadetud kirjad", "Saadetud üksused"]),
    ("Latvian", &["Nosūtītie", "Nosūtītās vēstules", "Nosūtītie vienumi"]),
    ("Lithuanian", &["Išsiųsti", "Išsiųsti laiškai", "Išsiųsti elementai"]),
    ("Polish", &["Wysłane", "Elementy wysłane", "Wiadomości wysłane"]),
    ("Czech", &["Odeslané", "Odeslaná pošta", "Odeslané zprávy", "Odeslané položky"]),
    ("Slovak", &["Odoslané", "Odoslaná pošta", "Odoslané správy", "Odoslané položky"]),
    ("Slovenian", &["Poslano", "Poslana pošta", "Poslani elementi"]),
    ("Croatian", &["Poslane stavke", "Poslane poruke", "Poslane"]),
    ("Serbian", &["Послато", "Poslate stavke", "Послате ставке", "Poslato"]),
    ("Hungarian", &["Elküldött", "Elküldött elemek", "Elküldött üzenetek", "Elküldöttek"]),
    ("Romanian", &["Trimise", "Elemente trimise", "Mesaje trimise", "Expediate"]),
    ("Bulgarian", &["Изпратени", "Изпратена поща", "Изпратени писма", "Изпратени елементи"]),
    ("Greek", &["Απεσταλμένα", "Απεσταλμένα στοιχεία", "Σταλμένα", "Απεσταλμένη αλληλογραφία"]),
    ("Russian", &["Отправленные", "Отправленное", "Отправленные письма"]),
    ("Ukrainian", &["Надіслані", "Відправлені", "Надіслане"]),
    ("Turkish", &["Gönderilmiş", "Gönderilmiş Öğeler", "Gönderilenler", "Gönderilmiş Postalar"]),
    ("Hebrew", &["פריטים שנשלחו", "דואר שנשלח", "נשלחו"]),
    ("Arabic", &["العناصر المرسلة", "البريد المرسل", "الرسائل المرسلة", "المرسلة"]),
    (
        "Chinese",
        &["已发送", "已发送邮件", "已发邮件", "寄件備份", "寄件备份", "已傳送", "已傳送的郵件"],
    ),
    ("Japanese", &["送信済み", "送信済みアイテム", "送信済みメール", "送信済みトレイ"]),
    ("Korean", &["보낸 편지함", "보낸편지함", "보낸 메일함", "보낸메일함"]),
    ("Vietnamese", &["Đã gửi", "Thư đã gửi", "Mục đã gửi"]),
    ("Indonesian", &["Terkirim", "Item Terkirim", "Pesan Terkirim"]),
    ("Thai", &["จดหมายที่ส่งแล้ว", "ส่งแล้ว", "รายการที่ส่ง"]),
    ("Catalan", &["Enviats", "Elements enviats", "Missatges enviats"]),
    ("Basque", &["Bidalita", "Bidalitakoak", "Bidalitako elementuak"]),
    ("Irish", &["Seolta", "Míreanna Seolta"]),
];

const DRAFTS: &[(&str, &[&str])] = &[
    ("English", &["Drafts", "Draft"]),
    ("German", &["Entwürfe", "Entwurf", "Entwuerfe"]),
    ("French", &["Brouillons", "Brouillon"]),
    ("Spanish", &["Borradores", "Borrador"]),
    ("Portuguese", &["Rascunhos", "Rascunho"]),
    ("Italian", &["Bozze", "Bozza"]),
    ("Dutch", &["Concepten"]),
    ("Danish", &["Kladder", "Udkast"]),
    ("Norwegian, Swedish", &["Utkast"]),
    ("Norwegian", &["Kladd"]),
    ("Finnish", &["Luonnokset"]),
    ("Icelandic", &["Drög"]),
    ("Estonian", &["Mustandid"]),
    ("Latvian", &["Melnraksti"]),
    ("Lithuanian", &["Juodraščiai"]),
    ("Polish", &["Szkice", "Kopie robocze", "Wersje robocze", "Robocze"]),
    ("Czech, Slovak", &["Koncepty"]),
    ("Czech", &["Rozepsané"]),
    ("Slovak", &["Rozpísané", "Rozpísané správy"]),
    ("Slovenian", &["Osnutki"]),
    ("Croatian", &["Skice", "Nacrti"]),
    ("Serbian", &["Нацрти", "Радне верзије", "Radne verzije"]),
    ("Hungarian", &["Piszkozatok", "Vázlatok"]),
    ("Romanian", &["Schițe", "Schiţe", "Ciorne", "Mesaje nefinalizate"]),
    ("Bulgarian", &["Чернови"]),
    ("Greek", &["Πρόχειρα"]),
    ("Russian", &["Черновики"]),
    ("Ukrainian", &["Чернетки"]),
    ("Turkish", &["Taslaklar", "Taslak"]),
    ("Hebrew", &["טיוטות"]),
    ("Arabic", &["المسودات", "مسودات"]),
    ("Chinese", &["草稿", "草稿箱", "草稿夹", "草稿匣"]),
    ("Japanese", &["下書き"]),
    ("Korean", &["임시 보관함", "임시보관함", "초안"]),
    ("Vietnamese", &["Nháp", "Thư nháp", "Bản nháp"]),
    ("Indonesian", &["Draf", "Konsep"]),
    ("Thai", &["แบบร่าง", "ร่างจดหมาย"]),
    ("Catalan", &["Esborranys"]),
    ("Basque", &["Zirriborroak"]),
    ("Irish", &["Dréachtaí"]),
];

const TRASH: &[(&str, &[&str])] = &[
    ("English", &["Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Trash Can"]),
    ("German", &["Papierkorb", "Gelöschte Objekte", "Gelöschte Elemente", "Gelöscht"]),
    ("German", &["Gelöschte Nachrichten"]),
    ("French", &["Corbeille", "Éléments supprimés", "Messages supprimés", "Poubelle"]),
    ("Spanish", &["Papelera", "Elementos eliminados", "Eliminados", "Papelera de reciclaje"]),
    ("Spanish", &["Mensajes eliminados"]),
    ("Portuguese", &["Lixeira", "Lixo", "Itens excluídos", "Itens eliminados", "Reciclagem"]),
    ("Italian", &["Cestino", "Posta eliminata", "Elementi eliminati", "Eliminata"]),
    ("Dutch", &["Prullenbak", "Verwijderde items", "Verwijderd", "Verwijderde berichten"]),
    ("Danish", &["Papirkurv", "Slettet post", "Slettede elementer", "Slettede mails"]),
    ("Norwegian", &["Papirkorg", "Slettet", "Papirkurven", "Slettede meldinger", "Søppel"]),
    ("Swedish", &["Papperskorgen", "Papperskorg", "Borttaget", "Borttagna objekt"]),
    ("Finnish", &["Roskakori", "Poistetut", "Poistetut kohteet", "Poistetut viestit"]),
    ("Icelandic", &["Ruslatunna", "Eydd atriði", "Eyddir hlutir"]),
    ("Estonian", &["Prügikast", "Kustutatud", "Kustutatud kirjad", "Kustutatud üksused"]),
    ("Latvian", &["Atkritne", "Miskaste", "Izdzēstie", "Izdzēstie vienumi"]),
    ("Lithuanian", &["Šiukšlinė", "Šiukšliadėžė", "Panaikinti elementai", "Ištrinti"]),
    ("Polish", &["Kosz", "Elementy usunięte", "Usunięte"]),
    ("Czech", &["Odstraněná pošta", "Odstraněné", "Odstraněné položky", "Vyhozené"]),
    ("Slovak", &["Odstránené", "Odstránená pošta", "Vymazané", "Odstránené položky"]),
    ("Czech, Slovak, Slovenian", &["Koš"]),
    ("Slovenian", &["Izbrisano", "Izbrisani elementi", "Smeti"]),
    ("Croatian, Serbian", &["Izbrisane stavke", "Otpad", "Smeće"]),
    ("Serbian", &["Отпад", "Смеће", "Избрисане ставке"]),
    ("Hungarian", &["Kuka", "Törölt elemek", "Lomtár", "Törölt", "Törölt üzenetek"]),
    ("Romanian", &["Coș de gunoi", "Gunoi", "Elemente șterse", "Coşul de gunoi", "Șterse"]),
    ("Bulgarian", &["Кошче", "Изтрити", "Изтрити елементи", "Кошче за боклук"]),
    ("Greek", &["Κάδος απορριμμάτων", "Διαγραμμένα", "Διαγραμμένα στοιχεία", "Κάδος"]),
    ("Russian", &["Корзина", "Удаленные", "Удалённые", "Удаленное"]),
    ("Ukrainian", &["Кошик", "Видалені", "Смітник", "Видалене"]),
    ("Turkish", &["Çöp Kutusu", "Çöp", "Silinmiş Öğeler", "Silinenler"]),
    ("Hebrew", &["אשפה", "פריטים שנמחקו", "סל המיחזור"]),
    ("Arabic", &["المهملات", "سلة المهملات", "العناصر المحذوفة", "المحذوفة"]),
    ("Chinese", &["已删除", "已删除邮件", "回收站", "刪除的郵件", "垃圾桶", "已刪除的郵件"]),
    ("Japanese", &["ゴミ箱", "ごみ箱", "削除済みアイテム", "削除済み"]),
    ("Korean", &["휴지통", "지운 편지함", "지운편지함"]),
    ("Vietnamese", &["Thùng rác", "Đã xóa", "Mục đã xóa"]),
    ("Indonesian", &["Sampah", "Tempat Sampah", "Item Terhapus", "Terhapus"]),
    ("Thai", &["ถังขยะ", "รายการที่ถูกลบ", "รายการที่ลบ"]),
    ("Catalan", &["Paperera", "Elements suprimits", "Elements eliminats"]),
    ("Basque", &["Zakarrontzia", "Ezabatutako elementuak"]),
    ("Irish", &["Bruscar", "Míreanna Scriosta"]),
];

const JUNK: &[(&str, &[&str])] = &[
    ("English", &["Junk", "Spam", "Junk E-mail", "Junk Email", "Junk Mail", "Bulk Mail", "Bulk"]),
    ("German", &["Spamverdacht", "Junk-E-Mail", "Unerwünscht", "Unerwünschte Werbung"]),
    ("French", &["Courrier indésirable", "Indésirables", "Pourriel", "Pourriels", "Indésirable"]),
    ("Spanish", &["Correo no deseado", "No deseado", "Correo basura", "No deseados"]),
    ("Portuguese", &["Lixo Eletrônico", "Lixo eletrónico", "Lixo Electrónico"]),
    ("Portuguese", &["Correio eletrónico não solicitado"]),
    ("Italian", &["Posta indesiderata", "Indesiderata", "Posta spazzatura"]),
    ("Dutch", &["Ongewenste e-mail", "Ongewenst", "Ongewenste mail", "Ongewenste post"]),
    ("Danish", &["Uønsket post", "Uønsket mail", "Uønsket e-mail"]),
    ("Norwegian", &["Søppelpost", "Uønsket", "Uønsket e-post"]),
    ("Swedish", &["Skräppost", "Skräp"]),
    ("Finnish", &["Roskaposti", "Roskapostit"]),
    ("Icelandic", &["Ruslpóstur"]),
    ("Estonian", &["Rämpspost", "Rämps"]),
    ("Latvian", &["Surogātpasts", "Mēstules"]),
    ("Lithuanian", &["Brukalas", "Šlamštas", "Nepageidaujamas paštas"]),
    ("Polish", &["Wiadomości-śmieci", "Wiadomości śmieci", "Niechciane", "Śmieci"]),
    ("Czech", &["Nevyžádaná pošta", "Nevyžádané"]),
    ("Slovak", &["Nevyžiadaná pošta", "Nevyžiadané"]),
    ("Slovenian", &["Neželena pošta", "Vsiljena pošta", "Neželena e-pošta"]),
    ("Croatian, Serbian", &["Neželjena pošta", "Bezvrijedna pošta"]),
    ("Serbian", &["Нежељена пошта"]),
    ("Hungarian", &["Levélszemét", "Kéretlen levelek", "Spamek"]),
    ("Romanian", &["E-mail nedorit", "Nedorite", "Mesaje nedorite"]),
    ("Bulgarian, Russian, Ukrainian", &["Спам"]),
    ("Bulgarian", &["Нежелана поща", "Нежелани"]),
    ("Greek", &["Ανεπιθύμητα", "Ανεπιθύμητη αλληλογραφία"]),
    ("Russian", &["Нежелательная почта", "Нежелательные"]),
    ("Ukrainian", &["Небажана пошта", "Небажані"]),
    ("Turkish", &["Önemsiz", "Önemsiz E-posta", "Gereksiz", "İstenmeyen"]),
    ("Hebrew", &["דואר זבל", "זבל", "ספאם"]),
    ("Arabic", &["البريد غير المهم", "البريد العشوائي", "بريد إلكتروني غير هام"]),
    ("Chinese", &["垃圾邮件", "垃圾郵件", "垃圾信件", "广告邮件"]),
    ("Japanese", &["迷惑メール", "スパム"]),
    ("Korean", &["스팸", "정크 메일", "스팸함", "스팸 메일함", "스팸메일함"]),
    ("Vietnamese", &["Thư rác", "Email rác"]),
    ("Indonesian", &["Email Sampah", "Surat Sampah"]),
    ("Thai", &["อีเมลขยะ", "จดหมายขยะ", "สแปม"]),
    ("Catalan", &["Correu brossa"]),
    ("Basque", &["Zabor-posta", "Zaborra"]),
    ("Irish", &["Turscar", "Ríomhphost Dramhaíola"]),
];

const ARCHIVE: &[(&str, &[&str])] = &[
    ("English", &["Archive", "Archived"]),
    ("English, French", &["Archives"]),
    ("Czech, German", &["Archiv"]),
    ("Spanish", &["Archivo", "Archivado", "Archivados"]),
    ("Portuguese", &["Arquivo", "Arquivadas", "Arquivo Morto"]),
    ("Italian", &["Archivio", "Archiviati"]),
    ("Dutch", &["Archief", "Gearchiveerd"]),
    ("Danish, Norwegian, Swedish", &["Arkiv"]),
    ("Finnish", &["Arkisto"]),
    ("Icelandic", &["Skjalasafn"]),
    ("Estonian", &["Arhiiv"]),
    ("Latvian", &["Arhīvs"]),
    ("Lithuanian", &["Archyvas"]),
    ("Polish", &["Archiwum"]),
    ("Slovak", &["Archív"]),
    ("Slovenian", &["Arhiv"]),
    ("Croatian, Serbian", &["Arhiva"]),
    ("Serbian", &["Архива"]),
    ("Hungarian", &["Archívum"]),
    ("Romanian", &["Arhivă", "Arhivate"]),
    ("Bulgarian, Russian", &["Архив"]),
    ("Greek", &["Αρχειοθέτηση", "Αρχείο"]),
    ("Ukrainian", &["Архів"]),
    ("Turkish", &["Arşiv"]),
    ("Hebrew", &["ארכיון"]),
    ("Arabic", &["أرشيف", "الأرشيف"]),
    ("Chinese", &["归档", "存档", "封存", "已归档"]),
    ("Japanese", &["アーカイブ"]),
    ("Korean", &["보관", "보관함", "보관 처리"]),
    ("Vietnamese", &["Lưu trữ"]),
    ("Indonesian", &["Arsip"]),
    ("Thai", &["ที่เก็บถาวร", "เก็บถาวร"]),
    ("Catalan", &["Arxiu"]),
    ("Basque", &["Artxiboa"]),
    ("Irish", &["Cartlann"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn use_of(name: &str) -> Option<SpecialUse> {
        named(&MailboxPath::parse(name)?).map(|(special_use, ..)| special_use)
    }

    #[test]
    fn names_are_known_in_any_case_at_the_top_only() {
        assert_eq!(use_of("gesendete ELEMENTE"), Some(SpecialUse::Sent));
        assert_eq!(use_of("ОТПРАВЛЕННЫЕ"), Some(SpecialUse::Sent));
        assert_eq!(use_of("[Google Mail]/Papierkorb"), Some(SpecialUse::Trash));
        assert_eq!(use_of("Projects/Archive"), None);
        assert_eq!(use_of("Sentimental"), None);
    }

    #[test]
    fn no_name_stands_for_two_uses_and_none_is_there_twice() {
        let mut seen = BTreeSet::new();
        for (_, languages) in NAMES {
            for name in languages.iter().flat_map(|(_, names)| *names) {
                assert!(seen.insert(name.to_lowercase()), "{name}");
            }
        }
    }

    #[test]
    fn every_use_has_a_name_in_every_language() {
        let languages = |names: &[(&'static str, _)]| {
            names.iter().flat_map(|(languages, _)| languages.split(", ")).collect::<BTreeSet<_>>()
        };
        let all = languages(SENT);
        assert!(all.len() >= 35, "{}", all.len());
        for (special_use, names) in NAMES {
            assert_eq!(languages(names), all, "{special_use:?}");
        }
    }
}
