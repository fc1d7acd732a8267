// The gSOAP server, one thread per connection: server PORT ROWS
#include "soapH.h"
#include "Bench.nsmap"

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

using Cells = std::array<std::string, 5>;

static std::vector<Cells> table;

static bool is_known(struct soap *soap)
{
    const auto *header = soap->header ? soap->header->ns__Authentication_ : nullptr;
    // It would be sent back otherwise.
    soap->header = nullptr;
    return header && header->User && header->Password && *header->User == "a1" && *header->Password == "secret";
}

static int refuse(struct soap *soap)
{
    return soap_sender_fault(soap, "The password is wrong.", nullptr);
}

int ns__Name(struct soap *soap, int number, ns__NameResponse &answer)
{
    if (!is_known(soap))
        return refuse(soap);
    answer.NameResult = "number " + std::to_string(number);
    return SOAP_OK;
}

int ns__ListRows(struct soap *soap, int count, ns__ListRowsResponse &answer)
{
    if (!is_known(soap))
        return refuse(soap);
    auto &rows = answer.ListRowsResult.Row;
    rows.resize(std::min<size_t>(count, table.size()));
    for (size_t place = 0; place < rows.size(); ++place) {
        const Cells &cells = table[place];
        rows[place].Id = std::stoi(cells[0]);
        rows[place].Name = cells[1];
        rows[place].Email = cells[2];
        rows[place].Status = cells[3];
        rows[place].Created = cells[4];
    }
    return SOAP_OK;
}

static void read_table(const char *path)
{
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream input(line);
        Cells cells;
        for (auto &cell : cells)
            std::getline(input, cell, '\t');
        table.push_back(cells);
    }
}

static void serve(struct soap *connection)
{
    soap_serve(connection);
    soap_destroy(connection);
    soap_end(connection);
    soap_free(connection);
}

int main(int, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    read_table(arguments[2]);
    struct soap soap;
    // Chunks are its fastest way for long answers: else it writes them twice, to know their length.
    soap_init2(&soap, SOAP_IO_KEEPALIVE, SOAP_IO_KEEPALIVE | SOAP_IO_CHUNK);
    // Plain trees need no search for objects that occur twice.
    soap_set_mode(&soap, SOAP_C_UTFSTRING | SOAP_XML_TREE);
    soap.max_keep_alive = 0;
    soap.bind_flags = SO_REUSEADDR;
    if (!soap_valid_socket(soap_bind(&soap, "127.0.0.1", std::atoi(arguments[1]), 128)))
        return EXIT_FAILURE;
    while (soap_valid_socket(soap_accept(&soap)))
        std::thread(serve, soap_copy(&soap)).detach();
    return EXIT_FAILURE;
}
