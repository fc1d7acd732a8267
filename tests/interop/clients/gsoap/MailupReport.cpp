// Calls MailupReport through what gSOAP generated.
#include "soapMailupReportSoapProxy.h"

using Proxy = MailupReportSoapProxy;

#include "keyed.hpp"

json_t *report_by_user(Proxy &proxy, json_t *given) {
    _ns1__ReportByUser request;
    _ns1__ReportByUserResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    request.email = text(proxy.soap, given, "email");
    request.listID = number(given, "listID");
    request.messageID = number(given, "messageID");
    send(proxy, &Proxy::ReportByUser, request, response);
    return value_of(response.ReportByUserResult);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {
        {"Login", log_in}, {"LoginFromId", log_in_from_id}, {"Logout", log_out}, {"ReportByUser", report_by_user}};
    return serve(arguments[1], operations, set_header);
}
