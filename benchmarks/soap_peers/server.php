<?php
// The PHP SoapServer, behind nginx and php-fpm; ROWS is a PHP file that returns the rows.
declare(strict_types=1);

final class Bench
{
    private bool $known = false;

    public function Authentication(object $header): void
    {
        $this->known = ($header->User ?? '') === 'a1' && ($header->Password ?? '') === 'secret';
    }

    public function Name(object $call): array
    {
        $this->checkPassword();
        return ['NameResult' => "number {$call->number}"];
    }

    public function ListRows(object $call): array
    {
        $this->checkPassword();
        $rows = [];
        foreach (array_slice(require $_SERVER['ROWS'], 0, $call->count) as [$id, $name, $email, $status, $created]) {
            $rows[] = ['Id' => $id, 'Name' => $name, 'Email' => $email, 'Status' => $status, 'Created' => $created];
        }
        return ['ListRowsResult' => ['Row' => $rows]];
    }

    private function checkPassword(): void
    {
        if (!$this->known) {
            throw new SoapFault('Client', 'The password is wrong.');
        }
    }
}

$server = new SoapServer($_SERVER['WSDL'], ['cache_wsdl' => WSDL_CACHE_BOTH]);
$server->setObject(new Bench());
$server->handle();
