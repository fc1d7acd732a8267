// What the gSOAP driver of every service shares: reads calls as lines of JSON, makes them, writes the answers.
#pragma once

#include <jansson.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "soapH.h"

// Without it gSOAP would read and write ISO 8859-1.
const soap_mode MODE = SOAP_C_UTFSTRING;

struct Failure {
    json_t *answer;
};

template <class Proxy> struct Operation {
    const char *name;
    json_t *(*call)(Proxy &, json_t *arguments);
};

inline std::string *text(soap *soap, json_t *given, const char *name) {
    const char *value = json_string_value(json_object_get(given, name));
    if (value == nullptr) return nullptr;
    auto *made = soap_new_std__string(soap);
    *made = value;
    return made;
}

inline int number(json_t *given, const char *name) { return json_integer_value(json_object_get(given, name)); }

inline bool truth(json_t *given, const char *name) { return json_is_true(json_object_get(given, name)); }

inline json_t *value_of(const std::string *text) { return text == nullptr ? json_null() : json_string(text->c_str()); }

inline std::string without_tags(const char *xml) {
    std::string text;
    bool within_tag = false;
    for (; xml != nullptr && *xml != 0; xml++) {
        within_tag = within_tag || *xml == '<';
        if (!within_tag) text += *xml;
        within_tag = within_tag && *xml != '>';
    }
    return text;
}

// Makes a call; what the response points to belongs to the proxy.
template <class Proxy, class Request, class Response>
void send(Proxy &proxy, int (Proxy::*method)(Request *, Response &), Request &request, Response &response) {
    if ((proxy.*method)(&request, response) == SOAP_OK) return;
    const char *code = *soap_faultcode(proxy.soap), *reason = soap_fault_string(proxy.soap);
    if (code == nullptr || proxy.soap->error != SOAP_FAULT)
        throw Failure{json_pack("{s:o}", "error", json_sprintf("error %d %s", proxy.soap->error, reason))};
    const std::string detail = without_tags(soap_fault_detail(proxy.soap));
    throw Failure{json_pack("{s:{s:s, s:s, s:s?}}", "fault", "code", code, "text", reason, "detail",
                            detail.empty() ? nullptr : detail.c_str())};
}

template <class Proxy, size_t count>
json_t *answer(json_t *request, const char *published, const Operation<Proxy> (&operations)[count],
               void (*set_header)(Proxy &, json_t *members)) {
    const char *address = json_string_value(json_object_get(request, "address"));
    const char *name = json_string_value(json_object_get(request, "operation"));
    Proxy proxy(address == nullptr ? published : address, MODE);
    json_t *header = json_object_get(request, "header"), *answer = nullptr;
    if (!json_is_null(header)) set_header(proxy, json_object_get(header, "members"));
    try {
        for (const auto &operation : operations)
            if (strcmp(operation.name, name) == 0)
                answer = json_pack("{s:o}", "value", operation.call(proxy, json_object_get(request, "arguments")));
    } catch (const Failure &failure) {
        answer = failure.answer;
    }
    proxy.destroy();
    return answer == nullptr ? json_pack("{s:s}", "error", "no such operation") : answer;
}

template <class Proxy, size_t count>
int serve(const char *published, const Operation<Proxy> (&operations)[count], void (*set_header)(Proxy &, json_t *members)) {
    char *line = nullptr;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        json_t *request = json_loads(line, 0, nullptr);
        puts(json_dumps(answer(request, published, operations, set_header), JSON_COMPACT));
        fflush(stdout);
        json_decref(request);
    }
    return 0;
}
