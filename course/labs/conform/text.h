/* Texts that grow, forms of lines, the escapes of keys and values, JSON strings, CRC-32.
   "§5.3" is a section of the extended Raft paper, "T9.6" one of Ongaro's thesis, "page" stands for
   docs/use/protocol.md, "grammar" for docs/develop/grammar.md. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef long long Number;                                /* a term, an index, a round; at most 2^63-1 */
typedef struct { char *at; size_t length, room; } Text;  /* bytes, and a 0 behind them */
#define die(status, ...) (fputs("[!] ", stderr), fprintf(stderr, __VA_ARGS__), fputs("\n", stderr), exit(status))

static void *grown(void *array, size_t bytes) {
    if (!(array = realloc(array, bytes))) die(1, "no memory for %zu bytes", bytes);
    return array;
}
static void make_room(Text *text, size_t length) {
    if (text->length + length < text->room) return;
    text->at = grown(text->at, text->room = 2 * (text->length + length) + 64);
    text->at[text->length] = 0;
}
static void add_bytes(Text *text, const char *from, size_t length) {
    make_room(text, length);
    memcpy(text->at + text->length, from, length);
    text->at[text->length += length] = 0;
}

__attribute__((format(printf, 2, 3))) static void add(Text *text, const char *form, ...) {
    va_list given;
    va_start(given, form);
    make_room(text, (size_t)vsnprintf(NULL, 0, form, given));
    va_end(given);
    va_start(given, form);
    text->length += (size_t)vsprintf(text->at + text->length, form, given);
    va_end(given);
}
static void drop_front(Text *text, size_t length) {
    if (length) memmove(text->at, text->at + length, text->length - length + 1);
    text->length -= length;
}

/* Match a form, and go behind it if it matches. A % reads a Number; at a ' there may be a quotation mark. */
static bool scan(const char **at, const char *form, ...) {
    const char *here = *at;
    bool fits = true;
    va_list given;
    va_start(given, form);
    for (; fits && *form; form++) {
        if (*form == '\'') {
            here += *here == '"';
        } else if (*form == '%') {
            size_t digits = strspn(here, "0123456789");
            unsigned long long number = strtoull(here, NULL, 10);
            fits = digits && digits < 20 && number <= INT64_MAX;
            *va_arg(given, Number *) = (Number)number;
            here += digits;
        } else {
            fits = *here++ == *form;
        }
    }
    va_end(given);
    if (fits) *at = here;
    return fits;
}
/* Return how many bytes of a text to echo: at most so many, and no half of a character. */
static int shown(const char *text, size_t length) {
    for (length = strnlen(text, length); length && (text[length] & 0xC0) == 0x80;) length--;
    return (int)length;
}
static bool is_name(const char *from, size_t length) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    return length && length <= 64 && isalpha((unsigned char)from[0]) && strspn(from, letters) >= length;
}

/* Return the bytes of the character of UTF-8 that begins here, and its code; 0 where none does. */
static size_t character(const char *from, size_t length, uint32_t *code) {
    const unsigned char *at = (const unsigned char *)from;
    size_t bytes = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (!bytes || bytes > length) return 0;
    *code = bytes == 1 ? at[0] : at[0] & (0x7Fu >> bytes);
    for (size_t i = 1; i < bytes; *code = *code << 6 | (at[i++] & 0x3F))
        if ((at[i] & 0xC0) != 0x80) return 0;
    bool is_long = (bytes == 3 && *code < 0x800) || (bytes == 4 && *code < 0x10000);
    return is_long || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000) ? 0 : bytes;
}
static bool is_control(uint32_t code) { return code < 0x20 || (code >= 0x7F && code < 0xA0); }

static void escape(Text *out, const char *raw, size_t length, bool is_key) {
    make_room(out, 0);
    for (size_t place = 0, bytes; place < length; place += bytes) {
        uint32_t code = 0;
        char one = raw[place];
        const char *found = one ? strchr("\\\\\nn\rr\tt", one) : NULL;
        bool is_whole = (bytes = character(raw + place, length - place, &code)) > 0;
        if (!is_whole) bytes = 1;
        if (is_key && one == ' ') add(out, "\\s");
        else if (found && !isalpha((unsigned char)one)) add(out, "\\%c", found[1]);
        else if (!is_whole || is_control(code) || code == 0x2028 || code == 0x2029)
            for (size_t i = 0; i < bytes; i++) add(out, "\\x%02x", (unsigned char)raw[place + i]);
        else add_bytes(out, raw + place, bytes);
    }
}

/* Say which byte of a line is none of a text (page: Escapes); false: all are. */
static bool has_bad_byte(Text *why, const char *line, size_t length) {
    uint32_t code = 0;
    for (size_t place = 0, bytes; place < length; place += bytes) {
        bytes = character(line + place, length - place, &code);
        if (bytes && (code == '\t' || !is_control(code))) continue;
        const char *what = bytes ? "a raw control character" : "not UTF-8";
        add(why, "byte %zu of this line is %s; write it as ", place + 1, what);
        return escape(why, line + place, bytes ? bytes : 1, false), true;
    }
    return false;
}

static bool unescape(Text *raw, const char *from, size_t length, Text *why) {
    static const char meanings[] = "\\\\n\nr\rt\ts ";
    make_room(raw, 0);
    for (size_t i = 0; i < length; i++) {
        char letter = i + 1 < length ? from[i + 1] : 0;
        const char *found = letter && strchr("\\nrts", letter) ? strchr(meanings, letter) : NULL;
        if (from[i] != '\\') {
            add_bytes(raw, from + i, 1);
        } else if (found) {
            add_bytes(raw, found + 1, 1);
            i++;
        } else if (letter == 'x' && i + 3 < length && isxdigit((unsigned char)from[i + 2])
                   && isxdigit((unsigned char)from[i + 3])) {
            char digits[3] = {from[i + 2], from[i + 3], 0}, byte = (char)strtol(digits, NULL, 16);
            add_bytes(raw, &byte, 1);
            i += 3;
        } else {
            uint32_t code;
            size_t bytes = letter ? character(from + i + 1, length - i - 1, &code) : 0;
            return add(why, "\\%.*s is not an escape. Write \\\\ for a backslash, \\n \\r \\t \\s, or \\xNN for"
                       " a byte.", (int)bytes, from + i + 1), false;
        }
    }
    return true;
}

/* Read and format the JSON string of a command: it holds no control character (grammar). */
static bool read_string(const char **at, Text *out) {
    if (*(*at)++ != '"') return false;
    for (make_room(out, 0); **at && **at != '"'; (*at)++) {
        if (**at == '\\' && (!*++*at || !strchr("\"\\/", **at))) return false;
        add_bytes(out, *at, 1);
    }
    return *(*at)++ == '"';
}
static void format_string(Text *out, const char *from) {
    for (size_t plain; plain = strcspn(from, "\"\\"), add_bytes(out, from, plain), from[plain]; from += plain + 1)
        add(out, "\\%c", from[plain]);
}
static uint32_t crc32_of(const char *from, size_t length, uint32_t before) {
    uint32_t crc = ~before;
    for (; length--; from++) {
        crc ^= (unsigned char)*from;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}
