/* The state machine: pairs of canonical texts, and what each command does to them (page: Clients).
   Every node executes the same commands in the same order, so nothing here knows a clock (§2). */
#include "disk.h"
enum { KEY_BYTES = 1024, VALUE_BYTES = 1 << 20, SLOTS = 1 << 16 };
typedef struct Pair { struct Pair *next; char *key, *value; } Pair;
static Pair *slots[SLOTS];

static Pair **place_of(const char *key) {
    Pair **place = &slots[crc32_of(key, strlen(key), 0) % SLOTS];
    while (*place && strcmp((*place)->key, key)) place = &(*place)->next;
    return place;
}
static void put(Pair **place, const char *key, const char *value) {
    Pair *fresh = *place ? *place : grown(NULL, sizeof *fresh);
    if (!*place) *fresh = (Pair){NULL, strdup(key), NULL};
    free(fresh->value);
    fresh->value = value ? strdup(value) : NULL;         /* NULL: deleted */
    *place = fresh;
}

/* A whole number in its one form, within 2^63-1 to both sides. */
static bool read_number(const char *text, Number *number) {
    const char *at = text + (text[0] == '-');
    if ((at[0] == '0' && (at[1] || at != text)) || !scan(&at, "%", number) || *at) return false;
    if (text[0] == '-') *number = -*number;
    return true;
}
static void increase(Text *reply, Pair **place, const char *key, const char *held, const char *by) {
    Number value, step, sum;
    char formatted[24];
    if (!read_number(by, &step))
        add(reply, "Sorry, %s is not a whole number: incr KEY [BY]", by);
    else if (!read_number(held ? held : "0", &value))
        add(reply, "Sorry, the value of %s is not a whole number, so nothing was added to it", key);
    else if (__builtin_add_overflow(value, step, &sum) || sum == INT64_MIN)
        add(reply, "Sorry, the value of %s would go beyond 2^63-1; nothing was added to it", key);
    else {
        sprintf(formatted, "%lld", sum);
        put(place, key, formatted);
        add(reply, "INCR response: %s", formatted);
    }
}

/* Execute a command in its canonical form. One that this node lacks ends it, or its pairs would differ. */
static void execute(Text *reply, const char *command) {
    size_t sender = strcspn(command, "@ ");
    const char *bare = command[sender] == '@' ? command + sender + 1 : command;
    size_t verb = strcspn(bare, " "), length = bare[verb] ? strcspn(bare + verb + 1, " ") : 0;
    const char *rest = bare + verb + !!bare[verb] + length, *value = *rest ? rest + 1 : NULL;
    char *key = strndup(rest - length, length);
    Pair **place = place_of(key);
    const char *held = *place ? (*place)->value : NULL;
    if (!strncmp(bare, "set ", 4) && value) {
        put(place, key, value);
        add(reply, "SET response: %s set to %s", key, value);
    } else if (!strncmp(bare, "get ", 4)) {
        if (held) add(reply, "GET response: %s", held);
        else add(reply, "GET response, no such key: %s", key);
    } else if (!strncmp(bare, "delete ", 7)) {
        add(reply, held ? "DELETE response: %s deleted" : "DELETE response, no such key: %s", key);
        if (held) put(place, key, NULL);
    } else if (!strncmp(bare, "incr ", 5)) {
        increase(reply, place, key, held, value ? value : "1");
    } else if (strcmp(bare, "noop")) {
        die(3, "the entry \"%.60s\" is none that this node can execute", command);
    }
    free(key);
}

/* --- the requests of clients, in their canonical form ---------------------------------------- */
static bool canonical(Text *out, const char *what, const char *from, size_t length, Text *why) {
    bool is_key = what[0] == 'k', is_sound = !is_key || !memchr(from, '\t', length);
    Text raw = {0};
    if (!is_sound) add(why, "a tab inside a key is written \\t");
    else is_sound = unescape(&raw, from, length, why);
    size_t limit = is_key ? KEY_BYTES : VALUE_BYTES;
    if (is_sound && raw.length > limit)
        add(why, "the %s has %zu bytes; the limit is %zu. Nothing was done.", what, raw.length, limit);
    else if (is_sound) escape(out, raw.at, raw.length, is_key);
    free(raw.at);
    return !why->length;
}

/* Format a request; where it is none, the reason. */
static bool read_request(Text *command, const char *message, Text *why) {
    size_t verb = strcspn(message, " "), end = strlen(message);
    add(command, "%.*s ", (int)verb, message);
    bool is_set = !strcmp(command->at, "set "), is_incr = !strcmp(command->at, "incr ");
    bool is_bare = !strcmp(command->at, "get ") || !strcmp(command->at, "delete ");
    while (!is_set && end > verb && message[end - 1] == ' ') end--;
    char *line = strndup(message, end), *key = line + verb + (verb < end), *rest = key + strcspn(key, " ");
    Number by;
    if (!is_set && !is_incr && !is_bare)
        add(why, "I don't understand: %.*s. Try: get KEY, set KEY VALUE, delete KEY, show, help", shown(line, 60), line);
    else if (rest == key)
        add(why, "the key is missing: %sKEY%s, with one space before the key", command->at, " VALUE" + 6 * !is_set);
    else if (*rest && (is_bare || (is_incr && strchr(rest + 1, ' '))))
        add(why, "%stakes one key; a space inside a key is written \\s", command->at);
    else if (!*rest && is_set)
        add(why, "the value is missing: set KEY VALUE (a space alone: empty value)");
    else if (canonical(command, "key", key, (size_t)(rest - key), why) && *rest) {
        add(command, " ");
        if (is_set) canonical(command, "value", rest + 1, (size_t)(line + end - rest - 1), why);
        else if (read_number(rest + 1, &by)) add(command, "%s", rest + 1);
        else add(why, "%.*s is not a whole number from -(2^63-1) to 2^63-1", shown(rest + 1, 60), rest + 1);
    }
    free(line);
    return !why->length;
}
