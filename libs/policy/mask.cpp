// SPDX-License-Identifier: Apache-2.0
// Secrets by their names and by their forms, replaced before anybody is shown a command.
#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "policy/glob.hpp"
#include "policy/plan.hpp"

namespace berth::policy {
namespace {

constexpr std::string_view kMask = "***";

/// What stands for `bytes` of a secret; of many it says how many, so that nothing long hides there.
std::string masked(std::size_t bytes) {
    constexpr std::size_t kLong = 64;
    std::string out(kMask);
    return bytes > kLong ? out + "(" + std::to_string(bytes) + " bytes)" : out;
}

/// Where a secret ends whatever it is in: what comes after this may be executed.
bool begins_code(std::string_view rest) {
    return std::string_view(";|&`\n").find(rest[0]) != std::string_view::npos ||
           rest.substr(0, 2) == "$(";
}

bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_token_char(char c) { return is_alnum(c) || c == '_' || c == '-'; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = upper(c);
    return out;
}

// Tokens that name their maker: prefix and how many more characters there are at least.
struct Form {
    std::string_view prefix;
    std::size_t least;
};
constexpr Form kForms[] = {
    {"ghp_", 20},        {"gho_", 20},      {"ghu_", 20},     {"ghs_", 20},     {"ghr_", 20},
    {"github_pat_", 20}, {"glpat-", 16},    {"gldt-", 16},    {"xoxb-", 10},    {"xoxp-", 10},
    {"xoxa-", 10},       {"xoxr-", 10},     {"xoxs-", 10},    {"xoxe-", 10},    {"xapp-", 10},
    {"sk-", 20},         {"sk_live_", 10},  {"sk_test_", 10}, {"rk_live_", 10}, {"AKIA", 16},
    {"ASIA", 16},        {"AIza", 30},      {"npm_", 30},     {"pypi-", 30},    {"hf_", 30},
    {"dop_v1_", 30},     {"ya29.", 20},     {"SG.", 30},      {"berth_", 40},   {"hvs.", 20},
    {"tskey-", 16},      {"dckr_pat_", 20}, {"eyJ", 30},
};

/// Length of a key whose first line ends at `end`: that line, and each word behind it that can be a
/// line of a key.
std::size_t key_length(std::string_view rest, std::size_t end) {
    constexpr std::size_t kLeast = 24;
    for (std::size_t at = end; at < rest.size();) {
        const std::string_view two = rest.substr(at, 2);
        if (rest[at] <= ' ' || two == "\\n" || two == "\\r") {
            at += rest[at] <= ' ' ? 1 : 2;
            continue;
        }
        std::size_t word = at;
        // Of one that is encrypted: which way.
        const bool header =
            rest.substr(at, 10) == "Proc-Type:" || rest.substr(at, 9) == "DEK-Info:";
        while (word < rest.size() && (is_alnum(rest[word]) ||
                                      std::string_view(header ? ":-, " : "+/=").find(rest[word]) !=
                                          std::string_view::npos))
            ++word;
        if (word - at < kLeast && !header) break;
        at = end = word;
    }
    return end;
}

/// Length of a secret of known form that begins at `at`, or 0.
std::size_t known_form(std::string_view text, std::size_t at) {
    // The first letters of the forms below: most characters begin none.
    if (std::string_view("gxsrAnphdyStbe-").find(text[at]) == std::string_view::npos) return 0;
    if (at > 0 && is_alnum(text[at - 1])) return 0;
    const std::string_view rest = text.substr(at);
    for (const auto& form : kForms) {
        if (rest.substr(0, form.prefix.size()) != form.prefix) continue;
        std::size_t end = form.prefix.size();
        while (end < rest.size() && (is_token_char(rest[end]) || rest[end] == '.')) ++end;
        if (end >= form.prefix.size() + form.least) return end;
    }
    constexpr std::string_view kBegin = "-----BEGIN ";
    if (rest.substr(0, kBegin.size()) == kBegin) {
        const std::string_view line =
            rest.substr(0, 64);  // "-----BEGIN ENCRYPTED PRIVATE KEY-----"
        const auto kind = line.find("PRIVATE KEY-----");
        if (kind != std::string_view::npos && kind < line.find("-----", kBegin.size()))
            return key_length(rest, kind + 16);
    }
    return 0;
}

/// Length of user:password in "scheme://user:password@", from after "://"; 0 where there is none.
std::size_t password_of_url(std::string_view rest, std::size_t& user) {
    std::size_t end = 0;
    while (end < rest.size() && rest[end] > ' ' && !begins_code(rest.substr(end)) &&
           std::string_view("/?#'\"").find(rest[end]) == std::string_view::npos)
        ++end;
    const auto host = rest.substr(0, end).rfind('@');
    if (host == std::string_view::npos) return 0;
    user = rest.substr(0, host).find(':');
    return user == std::string_view::npos ? 0 : host;
}

bool ends_value(char c) {
    return static_cast<unsigned char>(c) <= ' ' ||
           std::string_view("'\"&;|,}<>").find(c) != std::string_view::npos;
}

bool is_name_char(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.'; }

/// How many bytes of `rest` are the value after "name=" or "name:". Of headers that hold spaces: a
/// scheme and its word, or cookies, each a name and a value.
std::size_t value_length(std::string_view name, std::string_view rest) {
    const std::string header = upper(name);
    const bool cookies = header == "COOKIE" || header == "SET-COOKIE";
    int words = header == "AUTHORIZATION" || header == "PROXY-AUTHORIZATION" ? 2 : 1;
    std::size_t end = 0;
    while (end < rest.size()) {
        std::size_t next = end;
        while (next < rest.size() && !ends_value(rest[next]) && !begins_code(rest.substr(next)))
            ++next;
        if (next == end) break;
        end = next;
        if (cookies && rest.substr(next, 1) == ";") ++next;
        while (next < rest.size() && rest[next] == ' ') ++next;
        std::size_t pair = next;
        while (pair < rest.size() && is_name_char(rest[pair])) ++pair;
        const bool another = cookies && rest.substr(end, 1) == ";" && rest.substr(pair, 1) == "=";
        if (!another && (cookies || --words == 0 || next == end)) break;
        end = next;
    }
    return end;
}

/// Masks the value after a secret's name that ends right before `at` (where '=' or ':' stands).
bool mask_value(std::string_view text, std::size_t& at, std::string& out) {
    std::size_t name_end = at;
    if (name_end > 0 && (text[name_end - 1] == '"' || text[name_end - 1] == '\'')) --name_end;
    std::size_t begin = name_end;
    while (begin > 0 && is_name_char(text[begin - 1])) --begin;
    const std::string_view name = text.substr(begin, name_end - begin);
    if (name.empty() || !is_secret_name(name)) return false;
    std::size_t value = at + 1;
    while (value < text.size() && (text[value] == ' ' || text[value] == '\t')) ++value;
    if (value > at + 1 && text[at] == '=') return false;  // "a = b" is prose or code
    const bool quoted = value < text.size() && (text[value] == '"' || text[value] == '\'');
    std::size_t end = 0;
    if (quoted) {
        end = ++value;
        while (end < text.size() && text[end] != '"' && text[end] != '\'' &&
               !begins_code(text.substr(end)))
            ++end;
    } else {
        end = value + value_length(name, text.substr(value));
    }
    if (end == value) return false;
    out += text.substr(at, value - at);
    out += masked(end - value);
    at = end;
    return true;
}

/// True where the argument after this one is a secret: "--password x", "-token x". What follows one
/// dash may be letters with a value.
bool names_next(std::string_view argument) {
    if (argument.substr(0, 2) == "--")
        return argument.find_first_of("= :/") == std::string_view::npos && is_secret_name(argument);
    static constexpr std::string_view kNames[] = {
        "-password",
        "-passwd",
        "-passphrase",
        "-passin",
        "-passout",
        "-secret",
        "-token",
        "-apikey",
        "-api-key"};
    return std::find(std::begin(kNames), std::end(kNames), argument) != std::end(kNames);
}

/// A program's short options with a value: those whose value has a password, and the others, behind
/// which no letter is an option.
struct Letters {
    std::string_view secret;
    std::string_view other;
};

/// Where the value of a secret option begins in a cluster ("-su"); 0: there is none in it.
std::size_t secret_value_at(std::string_view argument, const Letters& letters) {
    if (argument.size() < 2 || argument[0] != '-' || argument[1] == '-') return 0;
    for (std::size_t i = 1; i < argument.size(); ++i) {
        if (letters.secret.find(argument[i]) != std::string_view::npos) return i + 1;
        if (letters.other.find(argument[i]) != std::string_view::npos) return 0;
    }
    return 0;
}

/// "--user", "--proxy-user=…", and "--proxy-u", which curl takes for it.
bool is_user_option(std::string_view argument) {
    constexpr std::string_view kProxy = "--proxy-user";
    const std::string_view name = argument.substr(0, argument.find('='));
    return name == "--user" || name == "--cert" || name == "--proxy-cert" ||
           (name.size() > kProxy.find('u') && kProxy.substr(0, name.size()) == name);
}

/// Programs, each between spaces, whose short options take a password.
struct WithPassword {
    std::string_view programs;
    Letters letters;
    std::string_view word{};        ///< only where this is among the arguments
    bool only_in_its_word = false;  ///< alone it asks for one; what follows is another argument
};
constexpr WithPassword kWithPassword[] = {
    {" sshpass ", {"p", "fdP"}},
    {" 7z 7za 7zr 7zz rar unrar ", {"p", "abcdefghijklmnoqrstuvwxyz"}, {}, true},
    {" az buildah cf crane docker helm nerdctl oc oras podman skopeo ", {"p", "u"}, "login"},
    {" ipmitool ", {"P", "HILUpt"}},
    {" ldapadd ldapcompare ldapdelete ldapexop ldapmodify ldapmodrdn ldapsearch ldapwhoami ",
     {"w", "abdDeEfFhHloOpPRsSTUXyYz"}},
    {" ldappasswd ", {"asw", "dDeEhHoOpPRTUXyY"}},
    {" mongo mongodump mongoexport mongoimport mongorestore mongosh ", {"p", "cdhu"}},
    {" redis-cli ", {"a", "dDhinprstuxX"}},
    {" bcp isql osql sqlcmd tsql ", {"P", "dioqQStU"}},
    {" unzip zip ", {"P", "bdnt"}},
};

/// True for the value behind a secret's name in `aws configure set NAME VALUE` and its like.
bool is_set_by_name(const std::vector<std::string>& argv, std::size_t at) {
    if (at < 3 || argv[at - 1].starts_with('-') || !is_secret_name(argv[at - 1])) return false;
    return std::any_of(
        argv.begin() + 1,
        argv.begin() + static_cast<std::ptrdiff_t>(at) - 1,
        [](const auto& word) {
            return word == "config" || word == "configure" || word == "config-set";
        }
    );
}

/// Options of single programs that carry a password: curl -u user:pass, sshpass -p x, mysql -px.
std::string mask_of_program(
    const std::vector<std::string>& argv, std::size_t index, std::string argument
) {
    static constexpr Letters kCurl{"uUE", "AbcCdDeFhHKmoPQrtTwxXyYz"};
    static constexpr Letters kMysql{"p", "DehPSuOTw#"};
    const std::string_view program = basename(argv.front());
    const std::string_view before =
        index > 0 ? std::string_view(argv[index - 1]) : std::string_view();
    // What of the argument is the value; all of it behind an option that stands by itself.
    const auto value_by = [&](const Letters& letters) -> std::optional<std::size_t> {
        if (const auto at = secret_value_at(before, letters); at > 0 && at == before.size())
            return 0;
        const auto at = secret_value_at(argument, letters);
        if (at > 0 && at < argument.size()) return at;
        return std::nullopt;
    };
    std::optional<std::size_t> value;
    if (program == "curl") {
        value = value_by(kCurl);
        if (is_user_option(before) && before.find('=') == std::string_view::npos) value = 0;
        if (is_user_option(argument) && argument.find('=') != std::string::npos)
            value = argument.find('=') + 1;
        const auto colon = value ? argument.find(':', *value) : std::string::npos;
        value = colon == std::string::npos ? std::nullopt : std::optional(colon + 1);
    } else if (program.compare(0, 5, "mysql") == 0 || program.compare(0, 7, "mariadb") == 0) {
        value = value_by(kMysql);
        if (value == 0) value.reset();  // it asks for one; what follows is another argument
    } else if (is_set_by_name(argv, index)) {
        value = 0;
    }
    for (const WithPassword& one : kWithPassword) {
        if (one.programs.find(" " + std::string(program) + " ") == std::string_view::npos) continue;
        if (!one.word.empty() && std::find(argv.begin(), argv.end(), one.word) == argv.end())
            continue;
        value = value_by(one.letters);
        if (value == 0 && one.only_in_its_word) value.reset();
    }
    if (!value) return argument;
    return argument.substr(0, *value) + masked(argument.size() - *value);
}

}  // namespace

bool is_secret_name(std::string_view name) {
    static constexpr std::array<std::string_view, 8> kParts = {
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "APIKEY",
        "CREDENTIAL",
        "PRIVATEKEY",
        "ACCESSKEY"};
    static constexpr std::array<std::string_view, 10> kWords = {
        "KEY",
        "PASS",
        "PWD",
        "AUTH",
        "AUTHORIZATION",
        "COOKIE",
        "BEARER",
        "PAT",
        "PSK",
        "SIGNATURE"};
    const std::string text = upper(name);
    if (text == "PWD" || text == "OLDPWD" || text == "SSH_AUTH_SOCK") return false;
    const auto holds = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    if (std::any_of(kParts.begin(), kParts.end(), holds)) return true;
    // "token", "authtoken", but neither "max_tokens" nor "tokenizer".
    for (auto at = text.find("TOKEN"); at != std::string::npos; at = text.find("TOKEN", at + 5)) {
        if (at + 5 == text.size() || !is_alnum(text[at + 5])) return true;
    }
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = begin;
        while (end < text.size() && is_alnum(text[end])) ++end;
        const std::string_view word = std::string_view(text).substr(begin, end - begin);
        if (std::find(kWords.begin(), kWords.end(), word) != kWords.end()) return true;
        begin = end + 1;
    }
    return false;
}

std::string mask(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        if ((text[at] == '=' || text[at] == ':') && mask_value(text, at, out)) continue;
        if (text.substr(at, 3) == "://") {
            std::size_t user = 0;
            if (const auto host = password_of_url(text.substr(at + 3), user)) {
                out += text.substr(at, 3 + user + 1);
                out += masked(host - user - 1);
                at += 3 + host;
                continue;
            }
        }
        if (const auto secret = known_form(text, at)) {
            out += masked(secret);
            at += secret;
            continue;
        }
        out += text[at++];
    }
    return out;
}

std::string show_masked_argv(const std::vector<std::string>& argv, std::size_t most) {
    std::vector<std::string> shown;
    shown.reserve(argv.size());
    // What looks like an option is shown: whether the name before takes a value is not known. A
    // word of letters behind one dash is more likely one.
    const auto is_option = [](std::string_view word) {
        return word.starts_with("--") || (word.starts_with('-') && word.size() == 2);
    };
    for (std::size_t i = 0; i < argv.size(); ++i) {
        if (i > 1 && names_next(argv[i - 1]) && !is_option(argv[i]))
            shown.push_back(masked(argv[i].size()));
        else
            shown.push_back(mask_of_program(argv, i, mask(argv[i])));
    }
    return show_argv(shown, most);
}

}  // namespace berth::policy
