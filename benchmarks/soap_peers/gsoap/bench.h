//gsoap ns service name: Bench
//gsoap ns service style: document
//gsoap ns service encoding: literal
//gsoap ns service namespace: http://bench.example/
//gsoap ns schema namespace: http://bench.example/
//gsoap ns schema form: qualified

#import "stlvector.h"

class ns__Authentication {
  public:
    std::string *User;
    std::string *Password;
};

struct SOAP_ENV__Header {
    ns__Authentication *ns__Authentication_;
};

class ns__Row {
  public:
    int Id;
    std::string Name;
    std::string Email;
    std::string Status;
    std::string Created;
};

class ns__ArrayOfRow {
  public:
    std::vector<ns__Row> Row;
};

class ns__NameResponse {
  public:
    std::string NameResult;
};

class ns__ListRowsResponse {
  public:
    ns__ArrayOfRow ListRowsResult;
};

//gsoap ns service method-action: Name http://bench.example/Name
//gsoap ns service method-header-part: Name ns__Authentication_
int ns__Name(int number, ns__NameResponse &answer);

//gsoap ns service method-action: ListRows http://bench.example/ListRows
//gsoap ns service method-header-part: ListRows ns__Authentication_
int ns__ListRows(int count, ns__ListRowsResponse &answer);
